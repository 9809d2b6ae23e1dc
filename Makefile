# Everything a person or CI does here. Needs python3 (3.11 or newer), git and make; the rest lands in .venv.
# Kafka, and the tests that use it, need java (17 or newer) and mvn besides, or Docker, or a broker in SENDTRACE_KAFKA.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench chaos storm kafka kafka-stop fmt lock clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
READY := .venv/sendtrace-ready
BROKERS := 1
BOUNCES := 100000
KAFKA_DATA := .kafka/data
WAITING := tests/faults tests/contract tests/integration tests/e2e
WAITERS := 2
SOURCES := schemas ingest processors sinks sendtrace tests
# python3 first: on a machine with several it is the one the person chose.
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

say = @printf '\n== %s\n'

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## make .venv with the exact packages of requirements.lock
	@echo 'setup: .venv is ready'

demo: setup  ## set up and run everything on this machine with sandbox traffic; Ctrl-C stops it
	@exec $(BIN)/sendtrace demo

test: check  ## set up and run all checks and tests
	$(say) 'tests'
	@exec $(BIN)/python -m pytest $(addprefix --ignore=,$(WAITING))
	$(say) 'tests that kill and wait, $(WAITERS) at a time'
	@exec $(BIN)/python -m pytest -n $(WAITERS) --dist worksteal $(WAITING)

check: setup  ## lint, format and types, no tests
	$(say) 'lint: ruff check'
	@exec $(BIN)/ruff check .
	$(say) 'format: ruff format --check'
	@exec $(BIN)/ruff format --check .
	$(say) 'types: mypy --strict'
	@exec $(BIN)/mypy

bench: setup  ## measure, beside a peer in the same run; prints JSON
	@exec $(BIN)/python tests/bench/run.py

POSTBACKS := 20000
KILLS := 12
chaos: setup  ## kill every part on Kafka and Postgres under load, and hold all to account; POSTBACKS=…, KILLS=…, SEED=…
	@exec $(BIN)/python -m tests.faults.chaos --postbacks $(POSTBACKS) --kills $(KILLS) $(if $(SEED),--seed $(SEED))

storm: setup  ## bounces of one campaign as fast as they can be posted: one incident, few messages; BOUNCES=100000
	@exec $(BIN)/python -m tests.faults.storm --bounces $(BOUNCES)

kafka: $(READY)  ## start a Kafka broker here, from its jars; prints its address; BROKERS=3, KAFKA_PORT=9092
	@exec $(BIN)/python -m tests.kafka.make_kafka start --data $(KAFKA_DATA) --brokers $(BROKERS) $(if $(KAFKA_PORT),--port $(KAFKA_PORT))

kafka-stop: $(READY)  ## stop it; its data stay in .kafka/data
	@exec $(BIN)/python -m tests.kafka.make_kafka stop --data $(KAFKA_DATA)

fmt: setup  ## format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup  ## make requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --output-file requirements.lock --quiet \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --universal --python-version 3.11
	@echo 'requirements.lock is made; `make setup` installs it'

clean:  ## remove .venv and everything that tools left; data and settings stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist .kafka/jars-*
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	@echo 'clean: sendtrace.toml and the data directories were not touched'

# pip brings only uv, checked by its hash in requirements.lock like everything else; uv brings the rest in a second.
$(READY): requirements.lock pyproject.toml
	@$(BIN)/python -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && exit 0; \
	for python in $(PYTHONS); do \
		$$python -c '$(NEW_ENOUGH)' >/dev/null 2>&1 || continue; \
		found=$$python; \
		if $$python -c 'import venv, ensurepip' >/dev/null 2>&1; then \
			echo "setup: making .venv with $$($$python -c 'import sys; print("Python %d.%d.%d" % sys.version_info[:3])')"; \
			exec $$python -m venv --clear .venv; \
		fi; \
	done; \
	if [ -n "$${found:-}" ]; then \
		echo "setup: $$found comes without venv; install it (Debian, Ubuntu: apt install python3-venv), or name another: make setup PYTHON=python3.12" >&2; \
	else \
		echo 'setup: no Python of version 3.11 or newer among: $(PYTHONS); install one, or name it: make setup PYTHON=python3.12' >&2; \
	fi; \
	exit 1
	@if [ "$$($(BIN)/uv --version 2>/dev/null | cut -d ' ' -f 2)" != "$$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements.lock)" ]; then \
		echo 'setup: installing uv'; \
		awk '/^[a-z]/ {keep = /^uv==/} keep' requirements.lock > .venv/uv-requirements.txt && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv-requirements.txt; \
	fi
	@echo 'setup: installing the packages of requirements.lock'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock || { \
		echo 'setup: uv could not; trying pip, which has settings of its own'; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	}
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
