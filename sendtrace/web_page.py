"""The page for people: counts by status, what failed lately and why, whether everything adds up.

Plain HTML made on the server, no script, nothing loaded from elsewhere. Every text that came from
outside is escaped, isolated from the direction of its surroundings, and cut where it is long.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from starlette.responses import Response

from schemas.records import Audit, MessageStatus
from schemas.rejections import ADVICE, RejectReason
from schemas.statuses import ORDER, STATUS, Outcome
from sendtrace.kafka_topics import BrokerError
from sendtrace.read_side import Readable, ReadSide

_FAILURES: Final = 12
_TEXT_CHARS: Final = 240
_NAME_CHARS: Final = 40
_BLANK: Final = re.compile(r"\s+")
#: Control characters, and those that turn the direction of what follows.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"
_MARKS: Final = {Outcome.DELIVERED: "good", Outcome.FAILED: "bad", Outcome.PENDING: "wait"}

_STYLE: Final = files("sendtrace").joinpath("web_page.css").read_text("utf-8")
_PAGE: Final = Template(files("sendtrace").joinpath("web_page.html").read_text("utf-8"))
_STYLE_DIGEST: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
#: Nothing may run or be loaded; the one style sheet inside the page is named by its digest.
HTML_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}


def page(side: Readable) -> Response:
    """The page as of now. Reads the disk: for the thread pool."""
    counts = side.reader.counts_by_status()
    html = _PAGE.substitute(
        style=_STYLE,
        title=f"{sum(counts.values()):,} messages",
        messages=f"{sum(counts.values()):,}",
        parts=_parts(side),
        statuses=_statuses(counts, side.reader.latest_reasons()),
        failures=_failures(side.reader.messages(outcome="failed", limit=_FAILURES).items),
        dead=_dead(side.reader.handled().open_dead),
    )
    return Response(html, headers=HTML_HEADERS)


def document(title: str, content: str) -> str:
    """Another page in the same clothes."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sendtrace: {title}</title><style>{_STYLE}</style></head>"
        f'<body><main><h1><a href="/">sendtrace</a>: {title}</h1>{content}</main></body></html>'
    )


def text(value: str, *, most_chars: int = _TEXT_CHARS) -> str:
    """A text from outside as HTML: on one line, cut, escaped, isolated; what cannot be seen as U+FFFD."""
    plain = _CONTROL.sub(_UNPRINTABLE, _BLANK.sub(" ", value))
    return f"<bdi>{escape(plain if len(plain) <= most_chars else plain[:most_chars] + '…')}</bdi>"


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
    return _table(("status", "messages", "share", "latest reasons"), rows)


def _failures(messages: Sequence[MessageStatus]) -> str:
    if not messages:
        return "<p>None.</p>"
    rows = [
        (
            f'<td class="time">{message["last_received_at"][:19].replace("T", " ")}</td>'
            f'<td><a href="/v1/messages/{message["message_id"]}">{_name(message)}</a></td>'
            f"<td>{text(message['source'])}{text(message['channel'] or '')}</td>"
            f'<td class="bad">{message["status"]}</td>'
            f"<td>{text(message['reason'] or 'no reason given')}"
            f'<span class="dim">{text(message["bounce_class"] or "")}</span></td>'
        )
        for message in messages
    ]
    return _table(("last news (UTC)", "message", "source, channel", "status", "reason, class"), rows)


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
    return _table(("reason", "bodies", "what to do"), rows)


def _table(names: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
