"""What became of a message: the facts known of it, and what follows from them (design §5).

A message is a set of facts that only grows, so facts may come in any order and any number of times
and the result is the same. Nothing here reads a clock or does I/O; receipt time is data, and it
never decides a status.

The working copy of a message is its status record, the dictionary that is written: nothing is
converted on the way in or out (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, cast

from schemas.event import Event
from schemas.identity import fact_id
from schemas.records import Fact, FactEffect, OutcomeWord, StatusRecord, Transition, TransitionKind
from schemas.statuses import (
    ARRIVAL_WORDS,
    DELIVERED,
    ENGAGEMENT_WORDS,
    FAILURE_WORDS,
    ORDER,
    OUTCOME,
    RANK,
    STATUSES,
    UNKNOWN,
)
from schemas.times import epoch_ms

#: Of a message's facts the first and the last this many, by provider time and fact id, are kept.
KEPT_EACH_END: Final = 50

_EARLIEST: Final[Mapping[str, Literal["requested_at", "sent_at", "processed_at", "delivered_at"]]] = {
    "requested": "requested_at",
    "sent": "sent_at",
    "processed": "processed_at",
    "delivered": "delivered_at",
}
_BEFORE_ABORT: Final = frozenset({"sent", "processed", "delivered"})

#: Which statuses a message was said to have is a set of bits, one a word of the status table.
_BIT: Final = {row.word: 1 << place for place, row in enumerate(STATUSES)}
_COMBINATIONS_KEPT: Final = 4_096

#: Highest rank, then latest provider time (none before any), then the table's order, then the fact id.
_Weight = tuple[int, str, int, str]
_NOTHING: Final[_Weight] = (-1, "", -1, "")

#: The same words at the same second are said of many messages; reasons are left out, they are long.
_fact_id_without_reason: Final = lru_cache(maxsize=8_192)(fact_id)


def weight(fact: Fact) -> _Weight:
    """What decides between facts on the delivery axis; the greatest is the current status."""
    status = fact["status"]
    return (RANK[status], fact["provider_time"] or "", ORDER[status], fact["fact_id"])


@lru_cache(maxsize=_COMBINATIONS_KEPT)
def _in_conflict(said: int) -> bool:
    """Whether statuses contradict each other (design §5, `conflict`)."""
    known = {word for word, bit in _BIT.items() if said & bit}
    failures = known & FAILURE_WORDS
    if not failures:
        return False
    return (
        len(failures) > 1
        or DELIVERED in known
        or not known.isdisjoint(ARRIVAL_WORDS)
        or ("aborted" in failures and not known.isdisjoint(_BEFORE_ABORT))
    )


@lru_cache(maxsize=_COMBINATIONS_KEPT)
def _effects(said: int, status: str) -> Mapping[str, FactEffect]:
    """What a fact of each word does where another one decides: contradict that one, or stand beside it."""
    failures = {word for word in FAILURE_WORDS if said & _BIT[word]}
    return {word: _effect(word, status, failures) for word in _BIT}


class Message:
    """The working copy of one message while a batch is folded.

    `apply` keeps the status right after every fact; what only readers need (each fact's effect, the
    counts) is put right once a batch by `finish`.
    """

    __slots__ = ("_best", "_facts", "_fresh", "_said", "record")

    def __init__(self, record: StatusRecord) -> None:
        self.record = record
        self._facts = {fact["fact_id"]: fact for fact in record["facts"]}
        self._said = 0
        self._best = _NOTHING
        self._fresh = False  # whether there are facts whose place and effect are not settled yet
        for fact in record["facts"]:
            self._said |= _BIT[fact["status"]]
            if RANK[fact["status"]] >= 0:
                self._best = max(self._best, weight(fact))

    @classmethod
    def first_seen(cls, event: Event, *, message_id: str, source: str, provider: str, received_at: str) -> Message:
        """A message of which nothing is known yet but who it is."""
        return cls(
            {
                "message_id": message_id,
                "source": source,
                "provider": provider,
                "channel": event.channel,
                "dispatch_id": event.dispatch_id,
                "external_send_id": event.external_send_id,
                "reference": event.reference,
                "campaign_id": event.campaign_id,
                "status": UNKNOWN,
                "outcome": "pending",
                "conflict": False,
                "overdue": False,
                "reason": None,
                "bounce_class": None,
                "first_received_at": received_at,
                "last_received_at": received_at,
                "requested_at": None,
                "sent_at": None,
                "processed_at": None,
                "delivered_at": None,
                "failed_at": None,
                "facts": [],
                "duplicates": 0,
                "version": 0,
                "repeated_until": {},
            }
        )

    def apply(self, event: Event, received_at: str, receipt_id: str) -> Transition | None:
        """Fold one postback in. Returns what it changed, or `None` if it repeated what was known."""
        self.record["version"] += 1
        self._widen(event, received_at)
        status, word, at, reason, occurrence = (
            event.status,
            event.provider_status,
            event.provider_time,
            event.reason,
            event.occurrence,
        )
        name = _fact_id_without_reason if reason is None else fact_id
        identity = name(status, word, at, reason, occurrence)
        if occurrence is not None:
            identity = self._occurrence(identity, received_at, event.retry_horizon_ms)
        known = self._facts.get(identity)
        if known is not None:
            known["duplicates"] += 1
            known["received_at"] = min(known["received_at"], received_at)
            return None
        fact: Fact = {
            "fact_id": identity,
            "status": status,
            "provider_status": word,
            "provider_time": at,
            "received_at": received_at,
            "reason": reason,
            "class": event.bounce_class,
            "effect": "history",
            "duplicates": 0,
        }
        self._facts[identity] = fact
        self._fresh = True
        if len(self._facts) > 2 * KEPT_EACH_END and not self._make_room(identity):
            return None
        return self._admit(fact, event, received_at, receipt_id)

    def finish(self) -> StatusRecord:
        """The record to write: facts in time order, each with its effect, and the counts."""
        record = self.record
        if self._fresh:
            facts = sorted(self._facts.values(), key=_time_order) if len(self._facts) > 1 else [*self._facts.values()]
            effects = _effects(self._said, record["status"])
            current = self._best[3]
            for fact in facts:
                fact["effect"] = "current" if fact["fact_id"] == current else effects[fact["status"]]
            record["facts"] = facts
            self._fresh = False
        record["duplicates"] = record["version"] - len(self._facts)
        return record

    def _widen(self, event: Event, received_at: str) -> None:
        """What every postback can add, repeated or not; each rule is a minimum or a maximum."""
        record = self.record
        if received_at > record["last_received_at"]:
            record["last_received_at"] = received_at
        elif received_at < record["first_received_at"]:
            record["first_received_at"] = received_at
        if event.campaign_id != record["campaign_id"]:
            record["campaign_id"] = _least(record["campaign_id"], event.campaign_id)
        if event.channel != record["channel"]:
            record["channel"] = _least(record["channel"], event.channel)
        if event.reference != record["reference"]:
            record["reference"] = _least(record["reference"], event.reference)
        if event.requested_at is not None:
            record["requested_at"] = _least(record["requested_at"], event.requested_at)

    def _admit(self, fact: Fact, event: Event, received_at: str, receipt_id: str) -> Transition:
        """Make a new fact count, and say what it changed."""
        record, status = self.record, fact["status"]
        before = record["status"] if self._said else None
        kind: TransitionKind = "engagement" if status in ENGAGEMENT_WORDS else "status"
        bit = _BIT[status]
        if not self._said & bit:
            self._said |= bit
            if not record["conflict"] and _in_conflict(self._said):
                record["conflict"], kind = True, "conflict"
        self._decide(fact)
        return {
            "transition_id": f"{record['message_id']}-{fact['fact_id']}",
            "kind": kind,
            "message_id": record["message_id"],
            "source": record["source"],
            "provider": record["provider"],
            "channel": record["channel"],
            "dispatch_id": record["dispatch_id"],
            "external_send_id": record["external_send_id"],
            "reference": record["reference"],
            "campaign_id": record["campaign_id"],
            "from_status": before,
            "status": record["status"],
            "outcome": record["outcome"],
            "provider_status": event.provider_status,
            "provider_time": event.provider_time,
            "received_at": received_at,
            "reason": event.reason,
            "bounce_class": event.bounce_class,
            "conflict": record["conflict"],
            "receipt_id": receipt_id,
            "version": record["version"],
        }

    def _decide(self, fact: Fact) -> None:
        """Let a new fact take over the status if it outweighs the one that has it."""
        record, status, at = self.record, fact["status"], fact["provider_time"]
        field = _EARLIEST.get(status)
        if field is not None and at is not None:
            record[field] = _least(record[field], at)
        rank = RANK[status]
        if rank >= 0:
            heaviness = (rank, at or "", ORDER[status], fact["fact_id"])
            if heaviness > self._best:
                self._best = heaviness
                record["status"] = status
                record["outcome"] = cast(OutcomeWord, OUTCOME[status])
                record["reason"] = fact["reason"]
                record["bounce_class"] = fact["class"]
                record["failed_at"] = at if status in FAILURE_WORDS else None
        elif self._best is _NOTHING and status in ARRIVAL_WORDS:
            # Nobody opens what never came: engagement alone proves arrival, though not when.
            record["status"], record["outcome"] = DELIVERED, "delivered"

    def _occurrence(self, base: str, received_at: str, horizon_ms: int) -> str:
        """The fact id under which engagement without id or time counts.

        The same body within the provider's retry horizon is a retry, later it is a new occurrence.
        An occurrence is a span of receipts with no gap longer than the horizon, so it is the same
        whatever the order of arrival; a receipt that closes a gap joins two spans into one.
        """
        until = self.record["repeated_until"]
        at_ms = epoch_ms(received_at)
        near = [
            fact
            for identity, fact in self._facts.items()
            if identity.startswith(base)
            and epoch_ms(fact["received_at"]) - horizon_ms <= at_ms
            and at_ms <= epoch_ms(until.get(identity, fact["received_at"])) + horizon_ms
        ]
        if not near:
            return f"{base}-{at_ms:x}"
        first = min(near, key=lambda fact: fact["received_at"])
        first["duplicates"] = sum(fact["duplicates"] for fact in near) + len(near) - 1
        last = max(received_at, *(until.pop(fact["fact_id"], fact["received_at"]) for fact in near))
        for fact in near:
            del self._facts[fact["fact_id"]]
        begin = min(first["received_at"], received_at)
        first["fact_id"] = f"{base}-{epoch_ms(begin):x}"
        self._fresh = True
        self._facts[first["fact_id"]] = first
        until[first["fact_id"]] = last
        return first["fact_id"]

    def _make_room(self, newcomer: str) -> bool:
        """Drop what lies between the ends; whether `newcomer` is among those that stay.

        The weightiest fact of each status always stays, or the status itself would be forgotten.
        What is dropped lies between the ends for good, since facts are only ever added: so what
        stays does not depend on the order of arrival.
        """
        ordered = sorted(self._facts.values(), key=_time_order)
        heaviest: dict[str, Fact] = {}
        for fact in ordered:
            held = heaviest.get(fact["status"])
            if held is None or weight(fact) > weight(held):
                heaviest[fact["status"]] = fact
        stay = {fact["fact_id"] for fact in (*ordered[:KEPT_EACH_END], *ordered[-KEPT_EACH_END:], *heaviest.values())}
        for identity in self._facts.keys() - stay:
            del self._facts[identity]
            self.record["repeated_until"].pop(identity, None)
        return newcomer in stay


def _time_order(fact: Fact) -> tuple[str, str]:
    return (fact["provider_time"] or "", fact["fact_id"])


def _least(known: str | None, said: str | None) -> str | None:
    """The smaller of two texts, either of which may be missing: a choice that order cannot change."""
    if known is None or said is None:
        return said if known is None else known
    return min(known, said)


def _effect(word: str, status: str, failures: set[str]) -> FactEffect:
    """What a fact that does not decide does: contradict the one that does, or stand beside it."""
    if failures and (
        (word in failures and word != status)
        or word == DELIVERED
        or word in ARRIVAL_WORDS
        or (word in _BEFORE_ABORT and "aborted" in failures)
    ):
        return "conflicting"
    if word in ENGAGEMENT_WORDS:
        return "engagement"
    return "unknown" if word == UNKNOWN else "history"
