"""A message's timeline for people: who it was for, what is known, and what each postback did.

Pure: a `MessageDetail` in, lines of text out. It decides nothing about delivery; the words for what
a postback did are derived from the transition it made, or from there being none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from schemas.records import Fact, MessageDetail, PostbackView, Transition
from schemas.statuses import UNKNOWN
from schemas.times import epoch_ms
from sendtrace.terminal import STYLES, padded, safe

NONE: Final = "–"
_DATE_CHARS: Final = len("2020-08-31")
_LABEL_CHARS: Final = 11
_SHORT_ID_CHARS: Final = 8
_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60 * _SECOND_MS
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS


class Said(NamedTuple):
    """What one postback says, in the provider's words; a folded one leaves no transition to read it from."""

    provider_status: str
    provider_time: str | None
    reason: str | None


class Meaning(NamedTuple):
    """What a bounce class means and what to do about it."""

    meaning: str
    advice: str


def timeline(
    detail: MessageDetail,
    *,
    said: Mapping[str, Said] | None = None,
    meanings: Mapping[str, Meaning] | None = None,
) -> list[Text]:
    """The lines, control characters written out. `said`: what folded postbacks say, by receipt id."""
    return [*_head(detail, meanings or {}), Text(), *_steps(detail, said or {})]


def lag(provider_time: str | None, received_at: str) -> str:
    """How long after it happened we heard of it: `340 ms`, `1.2 s`, `31 min`, `2.5 h`, `3 d`; `–` without a time."""
    if provider_time is None:
        return NONE
    late_ms = epoch_ms(received_at) - epoch_ms(provider_time)
    return f"{'-' if late_ms < 0 else ''}{duration(abs(late_ms))}"


def duration(span_ms: int) -> str:
    """A length of time with two or three figures and its unit."""
    for unit_ms, unit in ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "min"), (_SECOND_MS, "s")):
        if span_ms >= unit_ms:
            value = span_ms / unit_ms
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"  # noqa: PLR2004  two figures
    return f"{span_ms} ms"


def moment(iso: str) -> str:
    """`2020-08-31T18:58:42.000Z` → `2020-08-31 18:58:42.000`."""
    return iso.replace("T", " ").removesuffix("Z")


def name_of(message: Mapping[str, object]) -> str:
    """What people call a message: its first id that there is."""
    found = message["dispatch_id"] or message["external_send_id"] or message["message_id"]
    return safe(str(found))


def _head(detail: MessageDetail, meanings: Mapping[str, Meaning]) -> Iterator[Text]:
    yield Text.assemble(
        (name_of(detail), "bold"),
        "  ",
        (detail["status"], STYLES.get(detail["status"], "bold")),
        f" ({detail['outcome']})",
        ("  its postbacks contradict each other", "yellow") if detail["conflict"] else "",
        ("  overdue", "yellow") if detail["overdue"] else "",
    )
    yield from _labelled("source", _joined(detail["source"], detail["channel"]))
    yield from _labelled("campaign", detail["campaign_id"])
    yield from _labelled("dispatch", detail["dispatch_id"])
    yield from _labelled("send id", detail["external_send_id"])
    yield from _labelled("message", detail["message_id"])
    yield from _labelled("reason", detail["reason"])
    yield from _class(detail["bounce_class"], meanings)
    yield from _labelled("times", _times(detail))
    yield from _labelled("postbacks", _counts(detail))
    for incident in detail["incidents"]:
        style = "red" if incident["state"] == "open" else "dim"
        name = f"{incident['incident_id'][:_SHORT_ID_CHARS]}  {incident['title']}"
        yield Text.assemble(("incident".ljust(_LABEL_CHARS), "dim"), (incident["state"], style), f"  {safe(name)}")


def _class(word: str | None, meanings: Mapping[str, Meaning]) -> Iterator[Text]:
    known = meanings.get(word or "")
    yield from _labelled("class", f"{word}: {known.meaning}" if known else word)
    yield from _labelled("to do", known.advice if known else None)


def _labelled(label: str, value: str | None) -> Iterator[Text]:
    if value:
        yield Text.assemble((label.ljust(_LABEL_CHARS), "dim"), safe(value))


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _times(detail: MessageDetail) -> str:
    """The provider's times, the date once and again only where it changes."""
    told = []
    date = ""
    for word, at in (
        ("requested", detail["requested_at"]),
        ("sent", detail["sent_at"]),
        ("processed", detail["processed_at"]),
        ("delivered", detail["delivered_at"]),
        ("failed", detail["failed_at"]),
    ):
        if at is not None:
            whole = moment(at).removesuffix(".000")
            told.append(f"{word} {whole if at[:_DATE_CHARS] != date else whole[_DATE_CHARS + 1 :]}")
            date = at[:_DATE_CHARS]
    return _joined(*told)


def _counts(detail: MessageDetail) -> str:
    folded = f"{detail['duplicates']} folded away" if detail["duplicates"] else None
    return _joined(str(detail["version"]), folded)


def _steps(detail: MessageDetail, said: Mapping[str, Said]) -> Iterator[Text]:
    """The postbacks in the order they came, each with what it says and what it did."""
    made = {transition["receipt_id"]: transition for transition in detail["transitions"]}
    facts = {f"{detail['message_id']}-{fact['fact_id']}": fact for fact in detail["facts"]}
    rows = [_row(postback, made.get(postback["receipt_id"]), facts, said) for postback in detail["postbacks"]]
    head = ("received (UTC)", "provider time", "lag", "said", "what it did")
    widths = [max(cell_len(row.cells[column]) for row in [_Row(head), *rows]) for column in range(len(head) - 1)]
    yield Text(_columns(head, widths), style="dim")
    for row in rows:
        *first, last = row.cells
        yield Text.assemble(_columns((*first, ""), widths), (last, row.style))
        for note in row.notes:
            yield Text(f"    {note}", style="italic")


class _Row(NamedTuple):
    cells: tuple[str, ...]
    style: str = ""
    notes: tuple[str, ...] = ()


def _columns(cells: tuple[str, ...], widths: list[int]) -> str:
    *first, last = cells
    return "  ".join((*(padded(cell, width) for cell, width in zip(first, widths, strict=True)), last))


def _row(
    postback: PostbackView, transition: Transition | None, facts: Mapping[str, Fact], said: Mapping[str, Said]
) -> _Row:
    received_at = postback["received_at"]
    words = _said(transition) if transition else said.get(postback["receipt_id"])
    did, style = _did(postback, transition, facts)
    at = words.provider_time if words else None
    cells = (
        moment(received_at),
        NONE if at is None else _short(at, received_at),
        lag(at, received_at),
        safe(words.provider_status) if words else NONE,
        did,
    )
    notes = [safe(words.reason)] if words and words.reason else []
    if postback["flags"]:
        notes.append("odd: " + ", ".join(safe(flag).replace("_", " ") for flag in postback["flags"]))
    return _Row(cells, style, tuple(notes))


def _said(transition: Transition) -> Said:
    return Said(transition["provider_status"], transition["provider_time"], transition["reason"])


def _short(at: str, received_at: str) -> str:
    """The time of day alone where the day is that of the receipt."""
    return moment(at)[_DATE_CHARS + 1 :] if at[:_DATE_CHARS] == received_at[:_DATE_CHARS] else moment(at)


def _did(postback: PostbackView, transition: Transition | None, facts: Mapping[str, Fact]) -> tuple[str, str]:
    """What a postback did on arrival, in words, and their style."""
    if transition is None:
        if postback["effect"] == "dead":
            return "not understood: a dead letter", "red"
        return "folded: nothing new", "dim"
    fact = facts.get(transition["transition_id"])
    before, after = transition["from_status"], transition["status"]
    moved = f"{before} → {after}" if before != after else f"stays {after}"
    if before is None:
        moved = f"now {after}"
    if transition["kind"] == "conflict" or (transition["conflict"] and _contradicts(fact)):
        return f"contradicted: {moved}", "yellow"
    if fact is not None and fact["status"] == UNKNOWN:
        return f"unknown word, kept: {moved}", STYLES[UNKNOWN]
    style = STYLES.get(after, "") if before != after else ""
    return f"applied: {moved}", style


def _contradicts(fact: Fact | None) -> bool:
    return fact is not None and fact["effect"] == "conflicting"
