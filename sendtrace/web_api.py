"""The read API: which addresses there are, what each takes and answers (design §8).

One table, from which the routes, the OpenAPI document and the list for people are made. The
endpoints read the disk and run in the thread pool, never on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.incident_views import IncidentDetail
from schemas.incidents import SEVERITIES, Incident
from schemas.records import Audit, DeadLetterView, MessageDetail, MessageStatus
from schemas.rejections import RejectReason
from schemas.statuses import STATUS, Outcome
from sendtrace.read_side import Readable
from sendtrace.web_answers import ApiError
from sendtrace.web_query import CURSOR, LIMIT, Parameter, limit_of
from sinks.tables.pages import MOST_ITEMS, Page

#: (the read side, query parameters, parts of the path) → what is answered as JSON.
Answer = Callable[[Readable, dict[str, str], Mapping[str, str]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address. `record` is the class of the answer, or of the items of the list named `list_name`."""

    path: str
    about: str
    parameters: tuple[Parameter, ...]
    record: type
    answer: Answer
    list_name: str | None = None


def _messages(side: Readable, asked: dict[str, str], _path: Mapping[str, str]) -> object:
    page = side.reader.messages(
        q=asked.get("q"),
        dispatch_id=asked.get("dispatch_id"),
        external_send_id=asked.get("external_send_id"),
        source=asked.get("source"),
        status=asked.get("status"),
        campaign_id=asked.get("campaign_id"),
        outcome=asked.get("outcome"),
        limit=limit_of(asked),
        cursor=asked.get("cursor"),
    )
    return _listed("messages", page)


def _message(side: Readable, _asked: dict[str, str], path: Mapping[str, str]) -> object:
    found = side.reader.message(path["message_id"], body_at=side.body_at)
    if found is None:
        raise ApiError(404, "not_found", "there is no message of this id; /v1/messages?q= finds it by any identifier")
    return found


def _dead(side: Readable, asked: dict[str, str], _path: Mapping[str, str]) -> object:
    page = side.reader.dead(
        reason=asked.get("reason"),
        source=asked.get("source"),
        open_only=asked.get("open") == "true",
        limit=limit_of(asked),
        cursor=asked.get("cursor"),
    )
    return _listed("dead", page)


def _audit(side: Readable, asked: dict[str, str], _path: Mapping[str, str]) -> object:
    most_rows = limit_of(asked) if "limit" in asked else None
    account = side.audit()
    account["rows"] = account["rows"][:most_rows]
    return account


def _incidents(side: Readable, asked: dict[str, str], _path: Mapping[str, str]) -> object:
    page = side.reader.incidents(
        state=asked.get("state"),
        severity=asked.get("severity"),
        source=asked.get("source"),
        campaign_id=asked.get("campaign_id"),
        class_=asked.get("class"),
        rule=asked.get("rule"),
        limit=limit_of(asked),
        cursor=asked.get("cursor"),
    )
    return _listed("incidents", page)


def _incident(side: Readable, _asked: dict[str, str], path: Mapping[str, str]) -> object:
    found = side.reader.incident(path["incident_id"])
    if found is None:
        raise ApiError(404, "not_found", "there is no incident of this id; /v1/incidents lists them")
    return found


def _listed(name: str, page: Page[MessageStatus] | Page[DeadLetterView] | Page[Incident]) -> dict[str, object]:
    return {name: page.items, "next_cursor": page.next_cursor}


_SOURCE: Final = Parameter(name="source", about="only of this source")
_CAMPAIGN: Final = Parameter(name="campaign_id", about="only of this campaign")

ENDPOINTS: Final = (
    Endpoint(
        path="/v1/messages",
        about="Messages by first sight, newest first, for which everything that is asked holds.",
        parameters=(
            Parameter(
                name="q",
                about="any identifier, in full: of the message, dispatch, send, campaign, contact or form",
            ),
            Parameter(name="dispatch_id", about="the provider's id of the dispatch; the id of a 360NRS message"),
            Parameter(name="external_send_id", about="the sender's own id"),
            _SOURCE,
            Parameter(name="status", about="only those that have this status now", words=tuple(STATUS)),
            _CAMPAIGN,
            Parameter(name="outcome", about="only those with this outcome", words=tuple(map(str, Outcome))),
            LIMIT,
            CURSOR,
        ),
        record=MessageStatus,
        answer=_messages,
        list_name="messages",
    ),
    Endpoint(
        path="/v1/messages/{message_id}",
        about="One message with its transitions and the raw postbacks, oldest first, at most 500 from each end.",
        parameters=(),
        record=MessageDetail,
        answer=_message,
    ),
    Endpoint(
        path="/v1/dead",
        about="Bodies that were kept and not understood, newest first, with their exact bytes.",
        parameters=(
            Parameter(name="reason", about="only with this reason", words=tuple(map(str, RejectReason))),
            _SOURCE,
            Parameter(name="open", about="true: without those that a retry applied", words=("true", "false")),
            LIMIT,
            CURSOR,
        ),
        record=DeadLetterView,
        answer=_dead,
        list_name="dead",
    ),
    Endpoint(
        path="/v1/incidents",
        about="Incidents by their latest news, newest first, for which everything that is asked holds.",
        parameters=(
            Parameter(name="state", about="only those that are so now", words=("open", "resolved")),
            Parameter(name="severity", about="only those of this severity", words=SEVERITIES),
            _SOURCE,
            _CAMPAIGN,
            Parameter(name="class", about="only of this class, why messages failed in words of ours"),
            Parameter(name="rule", about="only of this rule of the settings"),
            LIMIT,
            CURSOR,
        ),
        record=Incident,
        answer=_incidents,
        list_name="incidents",
    ),
    Endpoint(
        path="/v1/incidents/{incident_id}",
        about="One incident with its history and what became of telling people, oldest first.",
        parameters=(),
        record=IncidentDetail,
        answer=_incident,
    ),
    Endpoint(
        path="/v1/audit",
        about="Does everything accepted add up? accepted = applied + duplicates + dead + pending, by source and hour.",
        parameters=(
            Parameter(name="limit", about=f"only the newest rows, 1 to {MOST_ITEMS}; the totals are always of all"),
        ),
        record=Audit,
        answer=_audit,
    ),
)
