"""Rows of a report made up for the tests of what is made of them."""

from __future__ import annotations

from typing import Final

from sendtrace.report.figures import Account, Known, Report, report_of
from sinks.tables.report_rows import (
    CampaignCount,
    CampaignLatency,
    ClassCount,
    DeadCount,
    Latency,
    OpenIncident,
    Period,
    ReasonCount,
    ReportRows,
    Volume,
)

#: Half past, so that the first hour and the last are cut.
PERIOD: Final = Period("2020-08-30T10:30:00.000Z", "2020-08-31T10:30:00.000Z", "2020-09-01T10:30:00.000Z")
NOTHING: Final = ReportRows([], [], [], [], None, None, [], [], [], None)
CLASSES: Final = {"unknown_user": Known("nobody of that name", "Stop mailing the address.")}
BALANCED: Final = Account("balanced: 10 accepted = 10 applied", balanced=True)
#: What somebody would write to be seen by whoever reads a report.
HOSTILE: Final = '</td><script>alert("1")</script>\x1b[31m\u202e&amp;'


def volume(hour: str, status: str, messages: int, *, is_now: bool = True, channel: str | None = "email") -> Volume:
    """Messages of an hour such as `31T10`."""
    time = f"2020-08-{hour}:00:00.000Z" if hour[:2] in {"30", "31"} else f"2020-09-{hour}:00:00.000Z"
    return Volume(is_now, time, "shop", "braze", channel, status, messages, 0, 0)


ROWS: Final = ReportRows(
    volumes=[
        volume("31T10", "delivered", 5),
        volume("31T23", "bounced", 20),
        volume("31T23", "delivered", 170),
        volume("01T10", "aborted", 5),
        volume("01T10", "sent", 10),
        volume("01T09", "delivered", 3, channel=None),
        volume("30T23", "delivered", 95, is_now=False),
        volume("30T23", "bounced", 5, is_now=False),
    ],
    classes=[ClassCount("unknown_user", 20, 5), ClassCount("abort_other", 5, 0)],
    reasons=[
        ReasonCount("unknown_user", "550 5.1.1 <ann@example.com> unknown, id 4f2a99c0d1e2b3a4", 9, 1, "m9"),
        ReasonCount("unknown_user", "550 5.1.1 <bob@example.org> unknown, id 00112233445566778", 11, 4, "m11"),
        ReasonCount("abort_other", None, 5, 0, "m5"),
    ],
    campaigns=[CampaignCount("shop", "spring", 200, 170, 20, 95, 5), CampaignCount("shop", None, 13, 3, 5, 0, 0)],
    latency_now=Latency(178, 2.0, 60.0, 900.0),
    latency_before=Latency(95, 2.5, 30.0, 600.0),
    slowest=[CampaignLatency("shop", "spring", Latency(170, 2.0, 60.0, 900.0))],
    incidents=[
        OpenIncident(
            *("i1", "critical", "Authentication refused", "Check SPF.", 26, 100),
            *("2020-08-31T23:12:00.000Z", "2020-09-01T01:00:00.000Z", "2020-09-01T02:00:00.000Z", None),
        )
    ],
    dead=[DeadCount("invalid_json", 3, 1, 7), DeadCount("of_a_newer_release", 0, 0, 1)],
    last_message="2020-09-01T10:29:00.000Z",
)


def example(rows: ReportRows = ROWS, *, period: Period = PERIOD, account: Account = BALANCED) -> Report:
    """The report of these rows."""
    return report_of(period, rows, CLASSES, account)


def hostile() -> Report:
    """One in which every text from outside tries to be more than a text."""
    return example(
        ROWS._replace(
            volumes=[one._replace(source=HOSTILE, channel=HOSTILE) for one in ROWS.volumes],
            classes=[one._replace(bounce_class=HOSTILE) for one in ROWS.classes],
            reasons=[one._replace(reason=HOSTILE, bounce_class=HOSTILE) for one in ROWS.reasons],
            campaigns=[one._replace(campaign_id=HOSTILE, source=HOSTILE) for one in ROWS.campaigns],
            slowest=[one._replace(campaign_id=HOSTILE, source=HOSTILE) for one in ROWS.slowest],
            incidents=[one._replace(title=HOSTILE, advice=HOSTILE, severity=HOSTILE) for one in ROWS.incidents],
            dead=[one._replace(reason=HOSTILE) for one in ROWS.dead],
        ),
        account=Account(HOSTILE, balanced=None),
    )
