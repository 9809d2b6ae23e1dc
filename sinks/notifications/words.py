"""A notice in words for people. Pure.

Nobody's address is in it: e-mail addresses and telephone numbers in what a provider said are put out of sight, and
nothing of it is markup to a chat program. Refuses to shorten what is to be done about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.incidents import Incident, IncidentSample
from sinks.notifications.records import Line, Notice, Word, rank

EMAIL: Final = "[address]"
PHONE: Final = "[phone]"
SAMPLE_MARK: Final = "TEST, nothing is wrong"

_MOST_REASON_CHARS: Final = 300
_EMAIL: Final = re.compile(r"[^\s<>()\[\]\"',;:=]+(?:@|%40)[^\s<>()\[\]\"',;]+", re.IGNORECASE)
#: With a plus or of nine digits and more, however they are grouped; what follows a dot or a letter is part of an id.
_PHONE: Final = re.compile(r"(?<![\w.])(?:\+\d(?:[ .()/-]{0,2}\d){6,14}|\(?\d(?:[ ()/-]{0,2}\d){8,14})(?![\w.]?\d)")
_MARKUP: Final = str.maketrans({"<": "(", ">": ")", "@": "(at)", "`": "'"})
_LINK: Final = re.compile(r"\](?=\()")
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")

_SAID: Final[Mapping[Word, str]] = {
    "opened": "new",
    "reopened": "again",
    "escalated": "growing",
    "resolved": "over",
    "passed": "came and went",
}
_COUNTED: Final[Mapping[Word, str]] = {
    "opened": "opened",
    "reopened": "reopened",
    "escalated": "escalated",
    "resolved": "resolved",
    "passed": "opened and resolved",
}


class Text(NamedTuple):
    """A message as people read it. `title` is one line."""

    title: str
    body: str


class Links(NamedTuple):
    """Where the admin surface is, as people reach it; without a slash at the end."""

    base_url: str

    def incident(self, incident_id: str) -> str:
        """The page of one incident."""
        return f"{self.base_url}/incidents/{incident_id}"

    def incidents(self) -> str:
        """The page that lists them."""
        return f"{self.base_url}/"

    def message(self, message_id: str) -> str:
        """The timeline of one message."""
        return f"{self.base_url}/messages/{message_id}"


def masked(text: str) -> str:
    """A provider's own words as they may leave: on one line, without addresses, telephone numbers and markup."""
    plain = _UNSEEN.sub(" ", text)
    plain = _PHONE.sub(PHONE, _EMAIL.sub(EMAIL, plain))
    return _LINK.sub("] ", plain).translate(_MARKUP).strip()


def safe(text: str) -> str:
    """The same for texts of ours, in which a campaign's number must not look like a telephone's."""
    return _LINK.sub("] ", _EMAIL.sub(EMAIL, _UNSEEN.sub(" ", text))).translate(_MARKUP).strip()


def masked_incident(incident: Incident) -> Incident:
    """The record as it may leave."""
    samples = [_masked_sample(sample) for sample in incident["samples"]]
    title, advice = safe(incident["title"]), safe(incident["advice"])
    return {**incident, "title": title, "advice": advice, "samples": samples}


def _masked_sample(sample: IncidentSample) -> IncidentSample:
    reason = sample["reason"]
    return {**sample, "reason": None if reason is None else masked(reason)}


def text_of(notice: Notice, links: Links) -> Text:
    """The whole message."""
    title = _title(notice)
    blocks = [line_text(line, links).removeprefix(f"{title}\n") for line in notice["lines"]]
    if rest := more_text(notice):
        blocks.append(f"{rest}; see {links.incidents()}")
    mark = f"{SAMPLE_MARK}: " if notice["sample"] else ""
    return Text(mark + title, "\n\n".join(blocks))


def line_text(line: Line, links: Links) -> str:
    """One incident, some lines."""
    incident = line["incident"]
    sample = _best_sample(incident)
    parts = [headline(line), _numbers(incident)]
    if sample is not None and sample["reason"]:
        reason = masked(sample["reason"])
        shown = reason if len(reason) <= _MOST_REASON_CHARS else reason[: _MOST_REASON_CHARS - 1] + "…"
        parts.append(f'The provider\'s words: "{shown}"')
    if line["word"] not in {"resolved", "passed"}:
        parts.append(f"What to do: {safe(incident['advice'])}")
    parts.append(f"Incident: {links.incident(incident['incident_id'])}")
    if (message_id := sample_message(incident)) is not None:
        parts.append(f"One of the messages: {links.message(message_id)}")
    return "\n".join(parts)


def headline(line: Line) -> str:
    """`CRITICAL new: Template errors in campaign welcome`."""
    incident = line["incident"]
    return f"{incident['severity'].upper()} {_SAID[line['word']]}: {safe(incident['title'])}"


def more_text(notice: Notice) -> str:
    """`and 37 more changes: 31 opened, 6 resolved`; empty where all are told."""
    more = notice["more"]
    total = sum(more.values())
    if not total:
        return ""
    counts = ", ".join(f"{count} {_COUNTED[word]}" for word, count in more.items())
    alone = "" if not notice["lines"] else "and "
    return f"{alone}{total} {'more ' if alone else ''}change{'s' if total > 1 else ''}: {counts}"


def sample_message(incident: Incident) -> str | None:
    """A message whose timeline shows the trouble."""
    return next((sample["message_id"] for sample in incident["samples"] if sample["message_id"]), None)


def _best_sample(incident: Incident) -> IncidentSample | None:
    samples = incident["samples"]
    return next((sample for sample in samples if sample["reason"]), samples[0] if samples else None)


def _numbers(incident: Incident) -> str:
    counted = f"{incident['count']:,} of {incident['total']:,}" if incident["total"] else f"{incident['count']:,}"
    about = {
        "class": incident["class"],
        "source": incident["source"],
        "campaign": incident["campaign_id"],
        "domain": incident["domain"],
    }
    labels = ", ".join(f"{name} {safe(value)}" for name, value in about.items() if value)
    until = f" until {_minute(incident['resolved_at'])}" if incident["resolved_at"] else ""
    count = "" if incident["kind"] == "silence" else f"{counted} "  # there is nothing to count in silence
    numbers = f"{count}since {_minute(incident['first_seen'])}{until}"
    return f"{numbers} · {labels}" if labels else numbers


def _minute(iso: str) -> str:
    return f"{iso[:10]} {iso[11:16]} UTC"


def _title(notice: Notice) -> str:
    lines = notice["lines"]
    if len(lines) == 1 and not notice["more"]:
        return headline(lines[0])
    counts: dict[Word, int] = dict(notice["more"])
    for line in lines:
        counts[line["word"]] = counts.get(line["word"], 0) + 1
    said = ", ".join(f"{counts[word]} {_COUNTED[word]}" for word in _COUNTED if word in counts)
    worst = max((line["incident"]["severity"] for line in lines), key=rank, default=None)
    return f"{f'{worst.upper()}: ' if worst else ''}incidents: {said}"
