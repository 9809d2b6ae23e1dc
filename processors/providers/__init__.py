"""The providers we understand: every module beside this one is one, found by looking, never by a list.

A provider is `<name>.py`, which declares a `Provider` (see `contract`), and `<name>.jsonl`, its sample
requests and what they mean. Refuses a module that declares none, so that a broken file is never ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType

from processors.providers.contract import Provider

_NOT_PROVIDERS = frozenset({"contract"})


@cache
def discover() -> Mapping[str, Provider]:
    """Name → provider, in the order of the names. Raises `TypeError` for a file that breaks the contract."""
    return MappingProxyType({name: _provider(name) for name in sorted(_names())})


def samples(name: str) -> list[dict[str, object]]:
    """The sample requests of a provider, one JSON object a line of its `.jsonl`.

    `name`, `source` (the page or rule it comes from), `content_type`, `content_encoding` (if any), the
    body as `body` or `body_base64`, and what it means: `event`, the fields of an `Event` that are set
    (the retry horizon is the provider's and left out), or `rejected` with the `reason`. Times are
    judged as if received on 2020-09-01T00:00:00Z.
    """
    lines = Path(__file__).with_name(f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _names() -> Iterator[str]:
    return (module.name for module in iter_modules(__path__) if module.name not in _NOT_PROVIDERS)


def _provider(name: str) -> Provider:
    found: object = getattr(import_module(f"{__name__}.{name}"), "PROVIDER", None)
    if not isinstance(found, Provider):
        raise TypeError(f"processors/providers/{name}.py: PROVIDER is missing or not a Provider")
    if found.name != name:
        raise TypeError(f"processors/providers/{name}.py: the provider's name must be '{name}', it is '{found.name}'")
    return found
