"""Rows of a report: what happened to the messages first heard of in a period, beside the period before it. No SQL.

Every `now` is of messages first received from `since` to before `until`, every `before` of those from
`before` to before `since`. Times are texts of `schemas.times`.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Period(NamedTuple):
    """From `since` to before `until`, and the one before it from `before` to before `since`."""

    before: str
    since: str
    until: str


class Volume(NamedTuple):
    """Messages of one hour and kind. `hour` is its start; the hour of `since` may come twice, once of each period."""

    is_now: bool
    hour: str
    source: str
    provider: str
    channel: str | None
    status: str
    messages: int
    conflicts: int
    overdue: int


class ClassCount(NamedTuple):
    """Messages that failed for reasons of one class."""

    bounce_class: str | None
    now: int
    before: int


class ReasonCount(NamedTuple):
    """The same of one text, as the provider gave it; `example` is the newest message of it."""

    bounce_class: str | None
    reason: str | None
    now: int
    before: int
    example: str


class CampaignCount(NamedTuple):
    """One campaign that had failures now."""

    source: str
    campaign_id: str | None
    messages: int
    delivered: int
    failed: int
    delivered_before: int
    failed_before: int


class Latency(NamedTuple):
    """Seconds from sent_at to delivered_at of `messages`; what goes back in time is left out."""

    messages: int
    p50: float
    p95: float
    p99: float


class CampaignLatency(NamedTuple):
    """The same of one campaign."""

    source: str
    campaign_id: str | None
    latency: Latency


class OpenIncident(NamedTuple):
    """An incident that is open as of now."""

    incident_id: str
    severity: str
    title: str
    advice: str
    counted: int
    total: int | None
    first_seen: str
    last_seen: str
    acknowledged_at: str | None
    silenced_until: str | None


class DeadCount(NamedTuple):
    """Dead letters of one reason: received now and before, and those open whenever they were received."""

    reason: str
    now: int
    before: int
    open: int


class ReportRows(NamedTuple):
    """Everything of one moment. `last_message` is when the newest message there is was first heard of."""

    volumes: list[Volume]
    classes: list[ClassCount]
    reasons: list[ReasonCount]
    campaigns: list[CampaignCount]
    latency_now: Latency | None
    latency_before: Latency | None
    slowest: list[CampaignLatency]
    incidents: list[OpenIncident]
    dead: list[DeadCount]
    last_message: str | None


class ReportTables(Protocol):
    """Reads the rows of a report."""

    def rows(self, period: Period) -> ReportRows:
        """Raises `sqlite3.Error` or `TablesError`."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...
