"""Where a postback is handled: the key under which the gateway puts it on the raw topic (design §3).

All postbacks that could be about one dispatch get one key, hence one partition and one order. The
key is the one the processor works with, so nothing is routed by a guess of its own; what the
processor will refuse has no key, and may be refused in any partition.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from processors.normalize import Normalizer
from processors.providers import discover
from processors.providers.contract import Format, Provider
from schemas.event import Rejected
from schemas.identity import message_key
from schemas.postback import Postback


class KeyFinder:
    """Bind once, call for every postback. Never raises for what a sender can send."""

    __slots__ = ("_first_name", "_normalize")

    def __init__(self, normalize: Normalizer, *, providers: Mapping[str, Provider] | None = None) -> None:
        self._normalize = normalize
        self._first_name = {
            name: provider.identity[0]
            for name, provider in (discover() if providers is None else providers).items()
            if provider.formats == (Format.JSON,) and "." not in provider.identity[0]
        }

    def __call__(self, postback: Postback) -> str | None:
        """The key, or `None` for a body that is not understood.

        The straight way is for plain JSON whose best identity is a text on the first level: one
        parse. Everything else is read as the processor will read it.
        """
        name = self._first_name.get(postback.provider)
        if name is not None and not postback.content_encoding:
            identity = _text_on_first_level(postback.body, name)
            if identity:
                return message_key(postback.source, identity, None)
        event = self._normalize(postback)
        if isinstance(event, Rejected):
            return None
        return message_key(postback.source, event.dispatch_id, event.external_send_id, event.scope)


def _text_on_first_level(body: bytes, name: str) -> str | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    identity = found.get(name) if type(found) is dict else None
    return identity if type(identity) is str else None
