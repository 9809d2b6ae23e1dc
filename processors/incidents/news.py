"""Everything new of one group in one step: when what matched was received, what it is held against, samples."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from processors.incidents.group_state import MOST_REASON_CHARS, Sample, earliest
from processors.incidents.rules import Labels
from schemas.incidents import MOST_INCIDENT_SAMPLES
from schemas.records import Transition
from schemas.times import epoch_ms

_REMEMBERED_SECONDS: Final = 100_000


@dataclass(slots=True)
class News:
    """`times_ms`: one for each failure. `tallied`: begin of a tally's bucket → matched, total."""

    labels: Labels
    times_ms: list[int] = field(default_factory=list)
    tallied: dict[int, list[int]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def tally(self, at_ms: int, matched: int, total: int) -> None:
        """Count what one tally says."""
        counts = self.tallied.get(at_ms)
        if counts is None:
            self.tallied[at_ms] = [matched, total]
        else:
            counts[0] += matched
            counts[1] += total

    def after(self, closed_ms: int | None) -> None:
        """Forget what was received up to a time."""
        if closed_ms is not None:
            self.times_ms = [at_ms for at_ms in self.times_ms if at_ms > closed_ms]
            self.tallied = {at_ms: counts for at_ms, counts in self.tallied.items() if at_ms > closed_ms}
            self.samples = [sample for sample in self.samples if sample.at_ms > closed_ms]


class MsClock:
    """`schemas.times.epoch_ms` for a stream of our own texts, most of them of the same few seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, int] = {}

    def __call__(self, iso: str) -> int:
        """`…T18:58:42.123Z` in milliseconds of Unix time."""
        start_ms = self._seconds.get(iso[:19])
        if start_ms is None:
            if len(self._seconds) >= _REMEMBERED_SECONDS:
                self._seconds.clear()
            start_ms = self._seconds[iso[:19]] = epoch_ms(iso[:19] + "Z")
        return start_ms + int(iso[20:23])


def _receipt_order(failure: Transition) -> tuple[str, str]:
    return failure["received_at"], failure["receipt_id"]


def first_failures(failures: Sequence[Transition], times_ms: Sequence[int], ms: MsClock, quiet_ms: int) -> list[Sample]:
    """The samples of many failures of a count: those received first in each spell, `times_ms` being their times."""
    if max(times_ms) - min(times_ms) > quiet_ms:  # no two spells lie within one bucket of this length
        return bucket_failures(failures, ms, quiet_ms, MOST_INCIDENT_SAMPLES)
    return [_sample(failure, ms) for failure in heapq.nsmallest(MOST_INCIDENT_SAMPLES, failures, key=_receipt_order)]


def bucket_failures(failures: Iterable[Transition], ms: MsClock, bucket_ms: int, most: int) -> list[Sample]:
    """The first few of every bucket, where it is not known yet which of them will be of one spell."""
    by_bucket: dict[int, list[Sample]] = {}
    for failure in failures:
        at_ms = ms(failure["received_at"])
        kept = by_bucket.setdefault(at_ms // bucket_ms, [])
        if len(kept) < most or (at_ms, failure["receipt_id"]) < kept[-1][:2]:
            kept.append(_sample(failure, ms))
            kept[:] = earliest(kept)[:most]
    return [sample for kept in by_bucket.values() for sample in kept]


def _sample(failure: Transition, ms: MsClock) -> Sample:
    reason = failure["reason"]
    return Sample(
        ms(failure["received_at"]),
        failure["receipt_id"],
        failure["message_id"],
        failure["status"],
        reason[:MOST_REASON_CHARS] if reason else reason,
        failure["bounce_class"],
    )
