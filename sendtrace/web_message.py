"""One message's timeline as a page: what `sendtrace show` prints, for who comes from an incident."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Final

from rich.text import Text
from starlette.responses import Response

from schemas.records import MessageDetail
from sendtrace.message_story import Storyteller
from sendtrace.read_side import Readable
from sendtrace.web_answers import ApiError
from sendtrace.web_html import HTML_HEADERS, document, part_of_path, text

_MARKS: Final = {"red": "bad", "green": "good", "yellow": "wait", "dim": "dim", "bold": "strong", "italic": "said"}


def message_page(side: Readable, message_id: str) -> Response:
    """One message. Reads the disk: for the thread pool. Raises `ApiError`."""
    found = side.reader.message(message_id, body_at=side.body_at)
    if found is None:
        raise ApiError(404, "not_found", "there is no message of this id; /v1/messages?q= finds it by any identifier")
    lines = "\n".join(map(_line, _storyteller().lines(found)))
    content = f'<div class="wide"><pre>{lines}</pre></div>{_incidents(found)}{_raw(found)}'
    return Response(document("message", content), headers=HTML_HEADERS)


@cache
def _storyteller() -> Storyteller:
    return Storyteller()


def _line(line: Text) -> str:
    """The pieces of a line with their styles; a terminal's colours are the page's own."""
    html, position = "", 0
    for span in sorted(line.spans, key=lambda span: span.start):
        mark = _MARKS.get(str(span.style), "")
        html += escape(line.plain[position : span.start])
        html += f'<span class="{mark}">{escape(line.plain[span.start : span.end])}</span>'
        position = span.end
    html += escape(line.plain[position:])
    mark = _MARKS.get(str(line.style), "")
    return f'<span class="{mark}">{html}</span>' if mark else html


def _incidents(detail: MessageDetail) -> str:
    links = "".join(
        f'<p><a href="/incidents/{part_of_path(link["incident_id"])}">{text(link["title"])}</a>'
        f'<span class="dim">{link["state"]}</span></p>'
        for link in detail["incidents"]
    )
    return f"<h2>Its incidents</h2>{links}" if links else ""


def _raw(detail: MessageDetail) -> str:
    path = f"/v1/messages/{part_of_path(detail['message_id'])}"
    return (
        f'<footer class="dim"><p><a href="{path}">For programs, with the exact bytes of every postback</a></p></footer>'
    )
