"""One partition's records in, everything that must be written out. No I/O but the store's reads.

The same object runs under every driver (embedded, Faust, tests). The driver writes the whole
`Batch` with its position in one transaction and only then asks for the next; when the write or the
fold fails it calls `forget`, so that nothing is folded against its own unwritten effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, cast

from processors.lifecycle import Message
from schemas.batch import Batch, DeadLetter, Receipt
from schemas.event import Event, Rejected
from schemas.identity import message_id, message_key
from schemas.personal import Personal, PersonalKind
from schemas.ports import StateStore
from schemas.postback import LogRecord, Postback
from schemas.records import PostbackEffect, Transition
from schemas.rejections import RejectReason
from schemas.times import IsoClock

Normalize = Callable[[Postback], Event | Rejected]
#: (message id, kind, value) → what may be written of it; `processors.personal.Seal` is one.
SealValue = Callable[[str, PersonalKind, str], Personal]

STAGE_NORMALIZE: Final = "normalize"
STAGE_PROCESS: Final = "process"
DEFAULT_CACHED_MESSAGES: Final = 20_000

#: What `Receipt(...)` does, without its Python-level `__new__`.
_receipt: Final = tuple.__new__


class PartitionProcessor:
    """Folds batches of one partition, in order. Not thread-safe.

    Keeps the working copies of the `cached_messages` messages last spoken of; all others are read
    from the store when they are spoken of again, so memory does not grow with their number. Without `seal`
    personal values are left in the raw body.
    """

    def __init__(
        self,
        *,
        normalize: Normalize,
        store: StateStore,
        cached_messages: int = DEFAULT_CACHED_MESSAGES,
        seal: SealValue | None = None,
    ) -> None:
        self._normalize = normalize
        self._seal = seal
        self._store = store
        self._cached_messages = cached_messages
        self._cache: dict[str, Message] = {}
        self._iso = IsoClock()

    def handle(self, records: Sequence[LogRecord]) -> Batch:
        """Fold `records`. Raises whatever a fault of ours raises; then call `forget`.

        Some dozens at a time are handled at half the cost of a thousand: all that is made of them,
        until it is written, stays in the processor's cache.
        """
        events = [self._normalize(record.postback) for record in records]
        known = self._identify(records, events)
        touched = self._load(known)
        fold = _Fold(self._iso, self._seal)
        for record, event, identity in zip(records, events, known, strict=True):
            if identity is None:
                fold.reject(record, cast(Rejected, event))
            else:
                touched[identity] = fold.apply(record, cast(Event, event), identity, touched[identity])
        states = {identity: message.finish() for identity, message in touched.items() if message is not None}
        self._remember(touched)
        return Batch(
            *(fold.transitions, states, fold.keys, fold.receipts, fold.dead, fold.identifiers, fold.words),
            fold.personal,
        )

    def forget(self) -> None:
        """Drop every working copy: the store alone says what is true."""
        self._cache.clear()

    def _identify(self, records: Sequence[LogRecord], events: Sequence[Event | Rejected]) -> list[str | None]:
        """Each one's message id; `None` for what was refused."""
        return [
            None
            if isinstance(event, Rejected)
            else message_id(record.postback.source, event.dispatch_id, event.external_send_id, event.scope)
            for record, event in zip(records, events, strict=True)
        ]

    def _load(self, identities: Sequence[str | None]) -> dict[str, Message | None]:
        """A working copy of each message spoken of, in order of first mention; `None` for a new one."""
        cache = self._cache
        touched = {identity: cache.pop(identity, None) for identity in identities if identity is not None}
        unknown = [identity for identity, message in touched.items() if message is None]
        if unknown:
            for identity, state in self._store.get_many(unknown).items():
                touched[identity] = Message(state)
        return touched

    def _remember(self, touched: dict[str, Message | None]) -> None:
        cache = self._cache
        for identity, message in touched.items():
            if message is not None:
                cache[identity] = message
        surplus = len(cache) - self._cached_messages
        if surplus > 0:  # a dict keeps insertion order, and every use re-inserts: the oldest come first
            for identity in list(islice(cache, surplus)):
                del cache[identity]


def poison(record: LogRecord, reason: RejectReason, detail: str) -> Batch:
    """The batch of one record that could not be handled: a dead letter and nothing else."""
    fold = _Fold(IsoClock())
    fold.reject(record, Rejected(reason, detail), stage=STAGE_PROCESS)
    return Batch([], {}, {}, fold.receipts, fold.dead, [])


class _Fold:
    """What one batch has put out so far."""

    __slots__ = ("_iso", "_seal", "dead", "identifiers", "keys", "personal", "receipts", "transitions", "words")

    def __init__(self, iso: IsoClock, seal: SealValue | None = None) -> None:
        self._iso = iso
        self._seal = seal
        self.transitions: list[Transition] = []
        self.words: list[str] = []
        self.keys: dict[str, str] = {}
        self.receipts: list[Receipt] = []
        self.dead: list[DeadLetter] = []
        self.identifiers: list[tuple[str, str]] = []
        self.personal: list[Personal] = []

    def apply(self, record: LogRecord, event: Event, identity: str, message: Message | None) -> Message:
        postback = record.postback
        received_at = self._iso(postback.received_ms)
        if message is None:
            message = Message.first_seen(
                event,
                message_id=identity,
                source=postback.source,
                provider=postback.provider,
                received_at=received_at,
            )
        if identity not in self.keys:
            self.keys[identity] = message_key(postback.source, event.dispatch_id, event.external_send_id, event.scope)
        transition = message.apply(event, received_at, postback.receipt_id)
        effect: PostbackEffect = "duplicate"
        if transition is not None:
            effect = "applied"
            self.transitions.append(transition)
            self.words.append(event.status)
            for name in event.identifiers:
                self.identifiers.append((name, identity))
        if event.personal and self._seal is not None:
            self.personal += [self._seal(identity, kind, text) for kind, text in event.personal]
        self.receipts.append(_receipt(Receipt, (record, received_at, identity, effect, event.flags)))
        return message

    def reject(self, record: LogRecord, rejected: Rejected, *, stage: str = STAGE_NORMALIZE) -> None:
        received_at = self._iso(record.postback.received_ms)
        self.receipts.append(Receipt(record, received_at, None, "dead", ()))
        self.dead.append(DeadLetter(record, received_at, stage, rejected))
