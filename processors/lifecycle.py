"""What became of a message: the facts known of it, and what follows from them (design §5).

A message is a set of facts that only grows, so facts may come in any order and any number of times
and the result is the same. Nothing here reads a clock or does I/O; receipt time is data, and it
never decides a status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from schemas.event import Event
from schemas.identity import fact_id
from schemas.records import FactEffect, OutcomeWord, Transition, TransitionKind
from schemas.state import FactState, MessageState
from schemas.statuses import (
    ARRIVAL_WORDS,
    DELIVERED,
    ENGAGEMENT_WORDS,
    FAILURE_WORDS,
    ORDER,
    OUTCOME,
    RANK,
    UNKNOWN,
)
from schemas.times import epoch_ms

#: Of a message's facts the first and the last this many, by provider time and fact id, are kept.
KEPT_EACH_END: Final = 50

_EARLIEST: Final[Mapping[str, str]] = {
    "requested": "requested_at",
    "sent": "sent_at",
    "processed": "processed_at",
    "delivered": "delivered_at",
}
_BEFORE_ABORT: Final = frozenset({"sent", "processed", "delivered"})

#: Highest rank, then latest provider time (none before any), then the table's order, then the fact id.
_Weight = tuple[int, str, int, str]
_NOTHING: Final[_Weight] = (-1, "", -1, "")


def weight(fact: FactState) -> _Weight:
    """What decides between facts on the delivery axis; the greatest is the current status."""
    status = fact.status
    return (RANK[status], fact.provider_time or "", ORDER[status], fact.fact_id)


def in_conflict(statuses: Iterable[str]) -> bool:
    """Whether statuses contradict each other (design §5, `conflict`)."""
    known = set(statuses)
    failures = known & FAILURE_WORDS
    if not failures:
        return False
    return (
        len(failures) > 1
        or DELIVERED in known
        or not known.isdisjoint(ARRIVAL_WORDS)
        or ("aborted" in failures and not known.isdisjoint(_BEFORE_ABORT))
    )


class Message:
    """The working copy of one message while a batch is folded.

    `apply` keeps the status right after every fact; what only readers need (each fact's effect, the
    counts) is put right once a batch by `finish`.
    """

    __slots__ = ("_best", "_facts", "_statuses", "state")

    def __init__(self, state: MessageState) -> None:
        self.state = state
        self._facts = {fact.fact_id: fact for fact in state.facts}
        self._statuses = {fact.status for fact in state.facts}
        self._best = max((weight(fact) for fact in state.facts if RANK[fact.status] >= 0), default=_NOTHING)

    @classmethod
    def first_seen(cls, event: Event, *, message_id: str, source: str, provider: str, received_at: str) -> Message:
        """A message of which nothing is known yet but who it is."""
        return cls(
            MessageState(
                message_id=message_id,
                source=source,
                provider=provider,
                channel=event.channel,
                dispatch_id=event.dispatch_id,
                external_send_id=event.external_send_id,
                reference=event.reference,
                campaign_id=event.campaign_id,
                first_received_at=received_at,
                last_received_at=received_at,
            )
        )

    def apply(self, event: Event, received_at: str, receipt_id: str) -> Transition | None:
        """Fold one postback in. Returns what it changed, or `None` if it repeated what was known."""
        self.state.version += 1
        self._widen(event, received_at)
        status, word, at, reason = event.status, event.provider_status, event.provider_time, event.reason
        identity = fact_id(status, word, at, reason, event.occurrence)
        if event.occurrence is not None:
            identity = self._occurrence(identity, received_at, event.retry_horizon_ms)
        known = self._facts.get(identity)
        if known is not None:
            known.duplicates += 1
            known.received_at = min(known.received_at, received_at)
            return None
        fact = FactState(identity, status, word, at, received_at, reason, event.bounce_class)
        self._facts[identity] = fact
        if len(self._facts) > 2 * KEPT_EACH_END and not self._make_room(identity):
            return None
        return self._admit(fact, event, received_at, receipt_id)

    def finish(self) -> MessageState:
        """The state to write: facts in time order, each with its effect, and the counts."""
        state = self.state
        facts = list(self._facts.values())
        if len(facts) > 1:
            facts.sort(key=_time_order)
        failures = self._statuses & FAILURE_WORDS
        current = self._best[3]
        for fact in facts:
            fact.effect = "current" if fact.fact_id == current else _effect(fact.status, state.status, failures)
        state.facts = facts
        state.duplicates = state.version - len(facts)
        return state

    def _widen(self, event: Event, received_at: str) -> None:
        """What every postback can add, repeated or not; each rule is a minimum or a maximum."""
        state = self.state
        if received_at > state.last_received_at:
            state.last_received_at = received_at
        elif received_at < state.first_received_at:
            state.first_received_at = received_at
        if event.campaign_id != state.campaign_id:
            state.campaign_id = _least(state.campaign_id, event.campaign_id)
        if event.channel != state.channel:
            state.channel = _least(state.channel, event.channel)
        if event.reference != state.reference:
            state.reference = _least(state.reference, event.reference)
        if event.requested_at is not None:
            state.requested_at = _least(state.requested_at, event.requested_at)

    def _admit(self, fact: FactState, event: Event, received_at: str, receipt_id: str) -> Transition:
        """Make a new fact count, and say what it changed."""
        state, status = self.state, event.status
        before = state.status if self._statuses else None
        kind: TransitionKind = "engagement" if status in ENGAGEMENT_WORDS else "status"
        if status not in self._statuses:
            self._statuses.add(status)
            if not state.conflict and in_conflict(self._statuses):
                state.conflict, kind = True, "conflict"
        self._decide(fact)
        return {
            "transition_id": f"{state.message_id}-{fact.fact_id}",
            "kind": kind,
            "message_id": state.message_id,
            "source": state.source,
            "provider": state.provider,
            "channel": state.channel,
            "dispatch_id": state.dispatch_id,
            "external_send_id": state.external_send_id,
            "reference": state.reference,
            "campaign_id": state.campaign_id,
            "from_status": before,
            "status": state.status,
            "outcome": state.outcome,
            "provider_status": event.provider_status,
            "provider_time": event.provider_time,
            "received_at": received_at,
            "reason": event.reason,
            "bounce_class": event.bounce_class,
            "conflict": state.conflict,
            "receipt_id": receipt_id,
            "version": state.version,
        }

    def _decide(self, fact: FactState) -> None:
        """Let a new fact take over the status if it outweighs the one that has it."""
        state, status = self.state, fact.status
        field = _EARLIEST.get(status)
        if field is not None and fact.provider_time is not None:
            setattr(state, field, _least(getattr(state, field), fact.provider_time))
        if RANK[status] >= 0:
            heaviness = weight(fact)
            if heaviness > self._best:
                self._best = heaviness
                state.status = status
                state.outcome = cast(OutcomeWord, OUTCOME[status])
                state.reason = fact.reason
                state.bounce_class = fact.bounce_class
                state.failed_at = fact.provider_time if status in FAILURE_WORDS else None
        elif self._best is _NOTHING and status in ARRIVAL_WORDS:
            # Nobody opens what never came: engagement alone proves arrival, though not when.
            state.status, state.outcome = DELIVERED, "delivered"

    def _occurrence(self, base: str, received_at: str, horizon_ms: int) -> str:
        """The fact id under which engagement without id or time counts.

        The same body within the provider's retry horizon is a retry, later it is a new occurrence.
        An occurrence is a span of receipts with no gap longer than the horizon, so it is the same
        whatever the order of arrival; a receipt that closes a gap joins two spans into one.
        """
        until = self.state.repeated_until
        at_ms = epoch_ms(received_at)
        near = [
            fact
            for identity, fact in self._facts.items()
            if identity.startswith(base)
            and epoch_ms(fact.received_at) - horizon_ms <= at_ms
            and at_ms <= epoch_ms(until.get(identity, fact.received_at)) + horizon_ms
        ]
        if not near:
            return f"{base}-{at_ms:x}"
        first = min(near, key=lambda fact: fact.received_at)
        first.duplicates = sum(fact.duplicates for fact in near) + len(near) - 1
        last = max(received_at, *(until.pop(fact.fact_id, fact.received_at) for fact in near))
        for fact in near:
            del self._facts[fact.fact_id]
        first.fact_id = f"{base}-{epoch_ms(min(first.received_at, received_at)):x}"
        self._facts[first.fact_id] = first
        until[first.fact_id] = last
        return first.fact_id

    def _make_room(self, newcomer: str) -> bool:
        """Drop what lies between the ends; whether `newcomer` is among those that stay.

        The weightiest fact of each status always stays, or the status itself would be forgotten.
        What is dropped lies between the ends for good, since facts are only ever added: so what
        stays does not depend on the order of arrival.
        """
        ordered = sorted(self._facts.values(), key=_time_order)
        heaviest: dict[str, FactState] = {}
        for fact in ordered:
            held = heaviest.get(fact.status)
            if held is None or weight(fact) > weight(held):
                heaviest[fact.status] = fact
        stay = {fact.fact_id for fact in (*ordered[:KEPT_EACH_END], *ordered[-KEPT_EACH_END:], *heaviest.values())}
        for identity in self._facts.keys() - stay:
            del self._facts[identity]
            self.state.repeated_until.pop(identity, None)
        return newcomer in stay


def _time_order(fact: FactState) -> tuple[str, str]:
    return (fact.provider_time or "", fact.fact_id)


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
