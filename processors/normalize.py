"""One postback in, one event or one refusal out (design §5). Pure: no I/O, no clock, no state but memos.

Whatever the bytes are, this returns; it never raises for what a sender can send. What belongs to one
provider is in its file under `providers/`, what belongs to every body in `bodies`, `forms` and `inflate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from processors.bodies import Fields, read_json, read_json_exact
from processors.classify import Classifier
from processors.forms import read_form_or_json
from processors.inflate import NotCompressedError, inflate
from processors.providers import discover
from processors.providers.contract import NUMBER_AS_TEXT, Format, NumberFoundError, Provider, RefusedError
from schemas.event import Event, Rejected
from schemas.postback import Postback
from schemas.rejections import RejectReason

ENCODING_IGNORED: Final = "encoding_ignored"
_NOT_COMPRESSED: Final = Rejected(
    RejectReason.BAD_ENCODING, "The body is not compressed as its Content-Encoding says, nor is it plain text."
)


class Normalizer:
    """Bind once, call for every postback: `normalize = Normalizer(Classifier.load(None))`. Thread-safe."""

    __slots__ = ("_classify", "_json_only", "_providers")

    def __init__(self, classifier: Classifier, *, providers: Mapping[str, Provider] | None = None) -> None:
        self._classify = classifier.classify
        self._providers = discover() if providers is None else providers
        self._json_only = {
            name: provider.read for name, provider in self._providers.items() if provider.formats == (Format.JSON,)
        }

    def __call__(self, postback: Postback) -> Event | Rejected:
        """The event, or why there is none. The straight way is for plain JSON of a provider that sends only that."""
        read = self._json_only.get(postback.provider)
        if read is None or postback.content_encoding:
            return self._any(postback)
        fields = read_json(postback.body)
        if isinstance(fields, Rejected):
            return fields
        try:
            return read(postback, fields, (), self._classify)
        except (NumberFoundError, RefusedError) as odd:
            return self._odd(odd, postback, postback.body, ())

    def _any(self, postback: Postback) -> Event | Rejected:
        provider = self._providers.get(postback.provider)
        if provider is None:
            return Rejected(RejectReason.UNKNOWN_PROVIDER, "The source's provider is none that we have a file for.")
        try:
            body = inflate(postback.body, postback.content_encoding)
        except NotCompressedError:
            event = self._read(provider, postback, postback.body, (ENCODING_IGNORED,))
            understood = isinstance(event, Event) or event.reason is RejectReason.EMPTY_BODY
            return event if understood else _NOT_COMPRESSED
        return body if isinstance(body, Rejected) else self._read(provider, postback, body, ())

    def _read(self, provider: Provider, postback: Postback, body: bytes, flags: tuple[str, ...]) -> Event | Rejected:
        found = _fields(provider, body, postback.content_type)
        if isinstance(found, Rejected):
            return found
        fields, odd_body = found
        try:
            return provider.read(postback, fields, (*flags, *odd_body), self._classify)
        except (NumberFoundError, RefusedError) as odd:
            return self._odd(odd, postback, body, (*flags, *odd_body))

    def _odd(
        self, odd: NumberFoundError | RefusedError, postback: Postback, body: bytes, flags: tuple[str, ...]
    ) -> Event | Rejected:
        """A value of the wrong type. A number is read again as it was written; anything else is refused."""
        if isinstance(odd, RefusedError):
            return odd.rejected
        read = self._providers[postback.provider].read
        try:
            return read(postback, read_json_exact(body), (*flags, NUMBER_AS_TEXT), self._classify)
        except RefusedError as refused:  # another field of the same body
            return refused.rejected


def _fields(provider: Provider, body: bytes, content_type: str) -> tuple[Fields, tuple[str, ...]] | Rejected:
    if Format.FORM in provider.formats:
        return read_form_or_json(body, content_type)
    found = read_json(body)
    return found if isinstance(found, Rejected) else (found, ())
