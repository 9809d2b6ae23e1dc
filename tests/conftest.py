"""What holds for every test: nothing that went wrong inside is swallowed, and hypothesis is bounded.

pytest turns what reached `threading.excepthook` and `sys.unraisablehook` into warnings, and
pyproject.toml turns warnings into failures. What an event loop swallows reaches only a logger, so
that is watched here.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ("tests.kafka.kafka_rig", "tests.postgres.postgres_rig")

# No deadline: two shared cores make single examples slow by accident.
settings.register_profile("default", max_examples=60, deadline=None)
# CI tries the same examples every time, so a red run means a changed program.
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


class _Swallowed(logging.Handler):
    """Collects what asyncio and uvloop report when nobody awaits the failure (both log as `asyncio`)."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reports: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reports.append(logging.Formatter("%(message)s").format(record))


@pytest.fixture(autouse=True)
def nothing_swallowed() -> Iterator[None]:
    """Fail the test during which an event loop had an exception that nobody took."""
    swallowed = _Swallowed()
    logger = logging.getLogger("asyncio")
    logger.addHandler(swallowed)
    yield
    logger.removeHandler(swallowed)
    assert not swallowed.reports, "swallowed by the event loop:\n" + "\n".join(swallowed.reports)
