"""A message's timeline with everything we know how to say: what its classes mean, what folded postbacks said.

What a folded postback said left no transition, so its body is read again, as it was when it came.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Final

from rich.text import Text

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.event import Event
from schemas.postback import KIND_POSTBACK, Postback
from schemas.records import MessageDetail, PostbackView
from schemas.times import epoch_ms
from sendtrace.timeline import Meaning, Said, timeline

_GZIP_MAGIC: Final = b"\x1f\x8b"


class Storyteller:
    """Tells any number of messages; what it needs for that is read once."""

    def __init__(self) -> None:
        classifier = Classifier.load(None)
        self.meanings = {word: Meaning(known.meaning, known.advice) for word, known in classifier.catalogue.items()}
        self._normalize = Normalizer(classifier)

    def lines(self, detail: MessageDetail) -> list[Text]:
        """The timeline, control characters written out."""
        return timeline(detail, said=self._said(detail), meanings=self.meanings)

    def _said(self, detail: MessageDetail) -> dict[str, Said]:
        told = {transition["receipt_id"] for transition in detail["transitions"]}
        said = {}
        for postback in detail["postbacks"]:
            if postback["receipt_id"] not in told and postback["body_base64"] is not None:
                event = self._normalize(_postback(detail, postback, b64decode(postback["body_base64"])))
                if isinstance(event, Event):
                    said[postback["receipt_id"]] = Said(event.provider_status, event.provider_time, event.reason)
        return said


def _postback(detail: MessageDetail, postback: PostbackView, body: bytes) -> Postback:
    return Postback(
        source=detail["source"],
        provider=detail["provider"],
        kind=KIND_POSTBACK,
        receipt_id=postback["receipt_id"],
        received_ms=epoch_ms(postback["received_at"]),
        content_type=postback["content_type"],
        # The timeline has no header for it; no JSON and no form begins with these two bytes.
        content_encoding="gzip" if body.startswith(_GZIP_MAGIC) else "",
        body=body,
    )
