"""The page for people: counts by status, what failed lately and why, whether everything adds up.

Plain HTML made on the server (`sendtrace.web_html`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Final

from starlette.responses import Response

from schemas.records import Audit, MessageStatus
from schemas.rejections import ADVICE, RejectReason
from schemas.statuses import ORDER, STATUS, Outcome
from sendtrace.kafka_topics import BrokerError
from sendtrace.read_side import Readable, ReadSide
from sendtrace.web_html import HTML_HEADERS, STYLE, second, table, text
from sendtrace.web_incidents import open_incidents

_FAILURES: Final = 12
_NAME_CHARS: Final = 40
_MARKS: Final = {Outcome.DELIVERED: "good", Outcome.FAILED: "bad", Outcome.PENDING: "wait"}

_PAGE: Final = Template(files("sendtrace").joinpath("web_page.html").read_text("utf-8"))


def page(side: Readable) -> Response:
    """The page as of now. Reads the disk: for the thread pool."""
    counts = side.reader.counts_by_status()
    html = _PAGE.substitute(
        style=STYLE,
        title=f"{sum(counts.values()):,} messages",
        messages=f"{sum(counts.values()):,}",
        parts=_parts(side),
        incidents=open_incidents(side.reader),
        statuses=_statuses(counts, side.reader.latest_reasons()),
        failures=_failures(side.reader.messages(outcome="failed", limit=_FAILURES).items),
        dead=_dead(side.reader.handled().open_dead),
    )
    return Response(html, headers=HTML_HEADERS)


def _parts(side: Readable) -> str:
    process = _process(side) if isinstance(side, ReadSide) else ""
    try:
        account = side.audit()
    except BrokerError as error:  # the tables are shown all the same
        return process + _part("Audit", "cannot be made", False, text(str(error)))
    pending = account["pending"]
    return "".join(
        (
            process,
            _part("Backlog", f"{pending:,} pending" if pending else "none", True, "kept, not yet in the tables"),
            _part("Audit", "adds up" if account["balanced"] else "does not add up", account["balanced"], _sum(account)),
        )
    )


def _process(side: ReadSide) -> str:
    """What runs in the process that serves the page; on Kafka gateway and worker are elsewhere."""
    restarts = side.processor_restarts()
    return "".join(
        (
            _part("Postbacks", "kept" if side.can_keep() else "cannot be kept", side.can_keep(), _gateway(side)),
            _part(
                "Processor",
                "running" if side.processor_alive() else "not running",
                side.processor_alive(),
                f"{restarts:,} restarts" if restarts else "no restarts",
            ),
        )
    )


def _gateway(side: ReadSide) -> str:
    if not side.can_keep():
        return "senders are told to come again"
    return f"{side.gateway_counters().open_connections:,} connections open"


def _sum(account: Audit) -> str:
    return (
        f"{account['accepted']:,} accepted = {account['applied']:,} applied + {account['duplicates']:,} repeats"
        f" + {account['dead']:,} dead + {account['pending']:,} pending"
    )


def _part(name: str, state: str, well: bool, more: str) -> str:  # noqa: FBT001  a cell of the page, three lines above
    mark = "good" if well else "bad"
    return f'<div class="part"><span class="dim">{name}</span><b class="{mark}">{state}</b>{more}</div>'


def _statuses(counts: dict[str, int], reasons: dict[str, list[str]]) -> str:
    total = sum(counts.values())
    if not total:
        return "<p>No postback has come yet. <code>sendtrace init</code> prints the URLs to post them to.</p>"
    rows = [
        (
            f'<td class="word"><b class="{mark}">{word}</b><br><span class="dim">{STATUS[word].meaning}</span></td>'
            f'<td class="number">{counts[word]:,}</td>'
            f'<td><meter class="{mark}" max="{total}" value="{counts[word]}">{counts[word] / total:.0%}</meter></td>'
            f"<td>{''.join(map(text, reasons.get(word, [])))}</td>"
        )
        for word in sorted(counts, key=ORDER.__getitem__)
        for mark in [_MARKS[STATUS[word].outcome]]
    ]
    return table(("status", "messages", "share", "latest reasons"), rows)


def _failures(messages: Sequence[MessageStatus]) -> str:
    if not messages:
        return "<p>None.</p>"
    rows = [
        (
            f'<td class="time">{second(message["last_received_at"])}</td>'
            f'<td><a href="/messages/{message["message_id"]}">{_name(message)}</a></td>'
            f"<td>{text(message['source'])}{text(message['channel'] or '')}</td>"
            f'<td class="bad">{message["status"]}</td>'
            f"<td>{text(message['reason'] or 'no reason given')}"
            f'<span class="dim">{text(message["bounce_class"] or "")}</span></td>'
        )
        for message in messages
    ]
    return table(("last news (UTC)", "message", "source, channel", "status", "reason, class"), rows)


def _name(message: MessageStatus) -> str:
    name = message["dispatch_id"] or message["external_send_id"] or message["message_id"]
    return text(name, most_chars=_NAME_CHARS)


def _dead(open_dead: dict[str, int]) -> str:
    if not open_dead:
        return "<p>Nothing: every body was understood.</p>"
    rows = [
        (
            f'<td><a href="/v1/dead?open=true&amp;reason={reason}">{reason}</a></td>'
            f'<td class="number">{count:,}</td><td>{ADVICE.get(RejectReason(reason), "")}</td>'
        )
        for reason, count in sorted(open_dead.items(), key=lambda row: (-row[1], row[0]))
    ]
    return table(("reason", "bodies", "what to do"), rows)
