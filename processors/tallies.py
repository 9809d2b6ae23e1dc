"""Batches in, tallies out: the counts of `schemas.tallies`. Pure; used by one thread."""

from __future__ import annotations

from collections import Counter
from typing import Final

from schemas.batch import Batch, DeadLetter
from schemas.records import Transition
from schemas.statuses import DELIVERED, DELIVERY_WORDS, UNKNOWN
from schemas.tallies import MOST_SAMPLES, Tally, TallySample, bucket_of, tally_id

_SAMPLED: Final = frozenset({"complained", UNKNOWN})
_TOLD_MAX_CHARS: Final = 200

#: source, provider, channel, campaign, bucket
_Key = tuple[str, str, str | None, str | None, str]


class Tallies:
    """Collects the batches of one transaction."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, _Count] = {}

    def add(self, batch: Batch) -> None:
        """Count everything of a batch. Transitions and dead letters are in the order of their receipts."""
        applied, dead = zip(batch.transitions, batch.words, strict=True), iter(batch.dead)
        for receipt in batch.receipts:
            postback, received_at = receipt.record.postback, receipt.received_at
            state = batch.states.get(receipt.message_id or "")
            channel, campaign_id = (state["channel"], state["campaign_id"]) if state else (None, None)
            key = (postback.source, postback.provider, channel, campaign_id, bucket_of(received_at))
            count = self._by_key.get(key)
            if count is None:
                count = self._by_key[key] = _Count(postback.receipt_id, received_at)
            count.saw(received_at)
            if receipt.effect == "applied":
                count.applied(*next(applied))
            elif receipt.effect == "dead":
                count.refused(next(dead))

    def take(self) -> list[Tally]:
        """What was collected, a tally for each source, channel, campaign and bucket; nothing is left after it."""
        taken, self._by_key = self._by_key, {}
        return [_tally(key, count) for key, count in taken.items()]


class _Count:
    __slots__ = ("counts", "dead", "first_at", "first_receipt_id", "last_at", "postbacks", "reversed", "samples")

    def __init__(self, first_receipt_id: str, received_at: str) -> None:
        self.first_receipt_id = first_receipt_id
        self.first_at = self.last_at = received_at
        self.postbacks = self.reversed = 0
        self.counts: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.samples: list[TallySample] = []

    def saw(self, received_at: str) -> None:
        self.postbacks += 1
        if received_at > self.last_at:
            self.last_at = received_at
        elif received_at < self.first_at:
            self.first_at = received_at

    def applied(self, transition: Transition, word: str) -> None:
        """`word` is the status of the fact; the transition's is that of the message after it."""
        before, after = transition["from_status"], transition["status"]
        if after != before and after in DELIVERY_WORDS:
            self.counts[after] += 1
            if transition["outcome"] == "failed" and before == DELIVERED:
                self.reversed += 1
        if word not in DELIVERY_WORDS:
            self.counts[word] += 1
            if word in _SAMPLED and self.counts[word] <= MOST_SAMPLES:
                told = transition["provider_status"]
                self._sample(word, transition["message_id"], transition["receipt_id"], transition["received_at"], told)

    def refused(self, letter: DeadLetter) -> None:
        reason = letter.rejected.reason.value
        self.dead[reason] += 1
        if self.dead[reason] <= MOST_SAMPLES:
            receipt_id = letter.record.postback.receipt_id
            self._sample(reason, None, receipt_id, letter.received_at, letter.rejected.detail)

    def _sample(self, word: str, message_id: str | None, receipt_id: str, received_at: str, told: str) -> None:
        self.samples.append(
            {
                "word": word,
                "message_id": message_id,
                "receipt_id": receipt_id,
                "received_at": received_at,
                "told": told[:_TOLD_MAX_CHARS],
            }
        )


def _tally(key: _Key, count: _Count) -> Tally:
    source, provider, channel, campaign_id, bucket_at = key
    tally: Tally = {
        "tally_id": "",
        "source": source,
        "provider": provider,
        "channel": channel,
        "campaign_id": campaign_id,
        "bucket_at": bucket_at,
        "first_received_at": count.first_at,
        "last_received_at": count.last_at,
        "postbacks": count.postbacks,
        "counts": dict(count.counts),
        "reversed": count.reversed,
        "dead": dict(count.dead),
        "samples": count.samples,
    }
    tally["tally_id"] = tally_id(tally, count.first_receipt_id)
    return tally
