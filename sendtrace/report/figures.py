"""The rows of a report as what a person is told: totals and rates of two periods, what failed and why, what was slow.

Pure. The classes are those of JSON too: a rate is a fraction of the messages that have an outcome, `None`
where none has.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from processors.smtp_reply import parse_reply
from schemas.rejections import ADVICE, RejectReason
from schemas.statuses import OUTCOME
from schemas.times import epoch_ms, iso_ms
from sinks.tables.report_rows import (
    CampaignCount,
    CampaignLatency,
    DeadCount,
    Latency,
    OpenIncident,
    Period,
    ReasonCount,
    ReportRows,
    Volume,
)

MOST_FAILURES: Final = 10
MOST_CAMPAIGNS: Final = 8
#: A step is an hour for two days and a half, six for a fortnight, a day for two months, a week for a year, and so on.
_STEPS_MS: Final = tuple(hours * 3_600_000 for hours in (1, 6, 24, 168, 4 * 168, 13 * 168))
_MOST_STEPS: Final = 60
_ADDRESS: Final = re.compile(r"[^\s<>@,;:\"']{1,64}@[^\s<>@,;:\"'()]{1,255}")


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages of one period."""

    messages: int = 0
    pending: int = 0
    delivered: int = 0
    failed: int = 0
    bounced: int = 0
    aborted: int = 0
    conflicts: int = 0
    overdue: int = 0
    delivery_rate: float | None = None
    bounce_rate: float | None = None
    abort_rate: float | None = None
    failure_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """One source and channel, now and before."""

    source: str
    channel: str | None
    now: Totals
    before: Totals


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of the period, from `start` on, and the piece as far into the period before."""

    start: str
    now: Totals
    before: Totals


@dataclass(frozen=True, slots=True)
class Failure:
    """Messages that failed for one reason: texts that differ in addresses and ids only are one."""

    bounce_class: str | None
    reason: str | None
    now: int
    before: int
    example_message_id: str


@dataclass(frozen=True, slots=True)
class FailureClass:
    """All that failed for reasons of a class, what the class means and what to do."""

    bounce_class: str | None
    now: int
    before: int
    meaning: str | None
    advice: str | None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds from sent_at to delivered_at by the provider's clock, of so many messages."""

    messages: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


@dataclass(frozen=True, slots=True)
class SlowCampaign:
    """One campaign by its 95th percentile."""

    source: str
    campaign_id: str | None
    latency: Percentiles


@dataclass(frozen=True, slots=True)
class FailingCampaign:
    """One campaign by how many of its messages failed."""

    source: str
    campaign_id: str | None
    messages: int
    failed: int
    failure_rate: float | None
    failure_rate_before: float | None


@dataclass(frozen=True, slots=True)
class Incident:
    """An open incident."""

    incident_id: str
    severity: str
    title: str
    advice: str
    count: int
    total: int | None
    first_seen: str
    last_seen: str
    acknowledged_at: str | None
    silenced_until: str | None


@dataclass(frozen=True, slots=True)
class Dead:
    """Dead letters of one reason."""

    reason: str
    now: int
    before: int
    open: int
    advice: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `step_seconds` is how long each of `steps` is; `audit` is the account of all times in a line."""

    before: str
    since: str
    until: str
    now: Totals
    previous: Totals
    latency_now: Percentiles | None
    latency_before: Percentiles | None
    slices: list[Slice]
    step_seconds: int
    steps: list[Step]
    failure_classes: list[FailureClass]
    failures: list[Failure]
    failing_campaigns: list[FailingCampaign]
    slowest_campaigns: list[SlowCampaign]
    incidents: list[Incident]
    dead: list[Dead]
    last_message_at: str | None
    audit: str
    audit_balanced: bool | None

    @property
    def is_empty(self) -> bool:
        """Nothing at all happened in the period."""
        return not self.now.messages and not any(one.now for one in self.dead)


@dataclass(frozen=True, slots=True)
class Known:
    """A class of failures in the catalogue."""

    meaning: str
    advice: str


@dataclass(frozen=True, slots=True)
class Account:
    """What the audit says, and whether it adds up; `None` where it could not be made."""

    line: str
    balanced: bool | None


def report_of(period: Period, rows: ReportRows, classes: Mapping[str, Known], account: Account) -> Report:
    """Everything that is told of a period."""
    step_ms = _step_ms(period)
    return Report(
        **period._asdict(),
        now=_totals(one for one in rows.volumes if one.is_now),
        previous=_totals(one for one in rows.volumes if not one.is_now),
        latency_now=_percentiles(rows.latency_now),
        latency_before=_percentiles(rows.latency_before),
        slices=_slices(rows.volumes),
        step_seconds=step_ms // 1000,
        steps=_steps(period, rows.volumes, step_ms),
        failure_classes=[
            FailureClass(one.bounce_class, one.now, one.before, *_meant(classes, one.bounce_class))
            for one in sorted(rows.classes, key=lambda one: (-one.now, -one.before, one.bounce_class or ""))
        ],
        failures=_failures(rows.reasons),
        failing_campaigns=[_failing(one) for one in rows.campaigns[:MOST_CAMPAIGNS]],
        slowest_campaigns=[_slow(one) for one in rows.slowest[:MOST_CAMPAIGNS]],
        incidents=[_incident(one) for one in rows.incidents],
        dead=[_dead(one) for one in sorted(rows.dead, key=lambda one: (-one.now, -one.open, one.reason))],
        last_message_at=rows.last_message,
        audit=account.line,
        audit_balanced=account.balanced,
    )


def rate(part: int, whole: int) -> float | None:
    """A fraction, or `None` of nothing."""
    return part / whole if whole else None


def _totals(volumes: Iterable[Volume]) -> Totals:
    by: Counter[str] = Counter()
    for one in volumes:
        by["messages"] += one.messages
        by[OUTCOME.get(one.status, "pending")] += one.messages
        by["conflicts"] += one.conflicts
        by["overdue"] += one.overdue
        if one.status in {"bounced", "aborted"}:
            by[one.status] += one.messages
    ended = by["delivered"] + by["failed"]
    return Totals(
        **{name: by[name] for name in ("messages", "pending", "delivered", "failed", "bounced", "aborted")},
        conflicts=by["conflicts"],
        overdue=by["overdue"],
        delivery_rate=rate(by["delivered"], ended),
        bounce_rate=rate(by["bounced"], ended),
        abort_rate=rate(by["aborted"], ended),
        failure_rate=rate(by["failed"], ended),
    )


def _slices(volumes: Sequence[Volume]) -> list[Slice]:
    groups: defaultdict[tuple[str, str | None], list[Volume]] = defaultdict(list)
    for one in volumes:
        groups[one.source, one.channel].append(one)
    slices = [
        Slice(
            *key,
            _totals(one for one in group if one.is_now),
            _totals(one for one in group if not one.is_now),
        )
        for key, group in groups.items()
    ]
    return sorted(slices, key=lambda one: (-one.now.messages, one.source, one.channel or ""))


def _step_ms(period: Period) -> int:
    span_ms = epoch_ms(period.until) - epoch_ms(period.since)
    return next((step for step in _STEPS_MS if span_ms <= step * _MOST_STEPS), _STEPS_MS[-1])


def _steps(period: Period, volumes: Sequence[Volume], step_ms: int) -> list[Step]:
    """Pieces that begin with hours of the clock (days, weeks), the first and the last cut by the period."""
    since_ms, until_ms = epoch_ms(period.since), epoch_ms(period.until)
    span_ms = until_ms - since_ms
    groups: defaultdict[tuple[bool, int], list[Volume]] = defaultdict(list)
    for one in volumes:
        at_ms = max(epoch_ms(one.hour), since_ms if one.is_now else since_ms - span_ms)
        groups[one.is_now, (at_ms if one.is_now else at_ms + span_ms) // step_ms].append(one)
    return [
        Step(iso_ms(max(number * step_ms, since_ms)), _totals(groups[True, number]), _totals(groups[False, number]))
        for number in range(since_ms // step_ms, (until_ms - 1) // step_ms + 1)
    ]


def _failures(reasons: Iterable[ReasonCount]) -> list[Failure]:
    """The most frequent first; each told in the words of the most frequent text, its addresses masked."""
    groups: defaultdict[tuple[str | None, object], list[ReasonCount]] = defaultdict(list)
    for one in reasons:
        groups[one.bounce_class, None if one.reason is None else parse_reply(one.reason)].append(one)
    found = []
    for (bounce_class, _), group in groups.items():
        first = max(group, key=lambda one: (one.now, one.before))
        told = None if first.reason is None else _ADDRESS.sub("…", first.reason)
        now, before = sum(one.now for one in group), sum(one.before for one in group)
        found.append(Failure(bounce_class, told, now, before, first.example))
    found.sort(key=lambda one: (-one.now, -one.before, one.bounce_class or "", one.reason or ""))
    return [one for one in found if one.now][:MOST_FAILURES]


def _meant(classes: Mapping[str, Known], word: str | None) -> tuple[str | None, str | None]:
    known = classes.get(word or "")
    return (None, None) if known is None else (known.meaning, known.advice)


def _failing(one: CampaignCount) -> FailingCampaign:
    return FailingCampaign(
        one.source,
        one.campaign_id,
        one.messages,
        one.failed,
        rate(one.failed, one.delivered + one.failed),
        rate(one.failed_before, one.delivered_before + one.failed_before),
    )


def _slow(one: CampaignLatency) -> SlowCampaign:
    return SlowCampaign(one.source, one.campaign_id, Percentiles(*one.latency))


def _percentiles(latency: Latency | None) -> Percentiles | None:
    return None if latency is None else Percentiles(*latency)


def _incident(one: OpenIncident) -> Incident:
    return Incident(*one)


def _dead(one: DeadCount) -> Dead:
    advice = next((ADVICE[reason] for reason in RejectReason if reason.value == one.reason), None)
    return Dead(*one, advice)
