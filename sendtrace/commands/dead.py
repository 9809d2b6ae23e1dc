"""`sendtrace dead`: bodies that were kept and not understood, why, and trying them again after a fix."""

from __future__ import annotations

import time
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.codec import encode
from schemas.records import DeadLetterView
from schemas.rejections import ADVICE, RejectReason
from schemas.times import iso_ms
from sendtrace.clock import SystemClock
from sendtrace.commands.common import (
    OK,
    TROUBLE,
    AsJson,
    Config,
    Data,
    TroubleError,
    config_file,
    is_running,
    settings_of,
)
from sendtrace.commands.places import Place, embedded_keys, place_of
from sendtrace.data_paths import DataPaths
from sendtrace.personal_keys import PersonalKeys
from sendtrace.processor_loop import AlreadyRunningError, retry_now
from sendtrace.settings import Settings
from sendtrace.settings_faults import unknown_word
from sendtrace.terminal import safe, say
from sendtrace.timeline import moment
from sinks.personal.batches import ERASED_DETAIL
from sinks.tables.sqlite_retries import request_retry
from sinks.tables.sqlite_retry_state import retries_since

_MINUTE_CHARS: Final = len("2020-08-31 18:58")
_MOST_SHOWN_CHARS: Final = 65_536
_POLL_S: Final = 0.1
_PATIENCE_S: Final = 60.0

dead_app = typer.Typer(help="Bodies that were kept and not understood: list, show, retry.", no_args_is_help=True)

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="WORD", help="Only of this reason, such as invalid_json.")
]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only of this source.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most this many, the newest.")]
DeadId = Annotated[str, typer.Argument(metavar="DEAD_ID", help="As `sendtrace dead list` shows it.")]


@dead_app.command("list")
def list_(
    *,
    reason: Reason = None,
    source: Source = None,
    limit: Limit = 100,
    json: AsJson = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List what was not understood, newest first, and what to do about each reason.

    Example: sendtrace dead list --reason invalid_json
    """
    _check_reason(reason)
    with closing(place_of(config, data).open_reader()) as reader:
        page = reader.dead(reason=reason, source=source, open_only=True, limit=limit)
    if json:
        say(encode({"dead": page.items, "next_cursor": page.next_cursor}).decode())
        return
    for letter in page.items:
        say(f"{letter['dead_id']}  {_minute(letter)}  {safe(letter['source'])}  {letter['reason']}")
        say(f"    {safe(letter['detail'])}")
    if page.next_cursor is not None:
        say(f"… and older ones; these are the newest {len(page.items)}")
    _advise(page.items)


def _advise(letters: Sequence[DeadLetterView]) -> None:
    if not letters:
        say("nothing: every body was understood")
        return
    say()
    for word, count in Counter(letter["reason"] for letter in letters).most_common():
        say(f"{count} {word}: {ADVICE[RejectReason(word)]}")


@dead_app.command("show")
def show(dead_id: DeadId, *, json: AsJson = False, config: Config = None, data: Data = None) -> None:
    """Show one dead letter: why, what to do, and its exact bytes, escaped where a terminal would obey them.

    Example: sendtrace dead show 01997f3e-5b7a-7c9e-8d53-1f2a3b4c5d6e
    """
    letter = _letter(place_of(config, data), dead_id)
    if json:
        say(encode(letter).decode())
        return
    body = b64decode(letter["body_base64"])
    retried = f"applied by a retry at {moment(letter['retried_at'])}" if letter["retried_at"] else "open"
    for label, text in (
        ("dead letter", letter["dead_id"]),
        ("source", f"{letter['source']} ({letter['provider']})"),
        ("received", moment(letter["received_at"])),
        ("reason", f"{letter['reason']}, at {letter['stage']}"),
        ("detail", letter["detail"]),
        ("to do", ADVICE[RejectReason(letter["reason"])]),
        ("state", retried),
        ("type", letter["content_type"] or "none given"),
        ("body", f"{len(body):,} bytes"),
    ):
        say(f"{label:<13}{safe(text)}")
    say()
    for line in readable(body):
        say(line)


def readable(body: bytes) -> list[str]:
    """A body as lines that a terminal can be shown: text as text, anything else with every odd byte escaped."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode("ascii", "backslashreplace")
    shown = text[:_MOST_SHOWN_CHARS]
    lines = [safe(line.removesuffix("\r")) for line in shown.split("\n")] if shown else []
    more = len(text) - len(shown)
    return [*lines, f"… {more:,} more characters; --json has them all"] if more else lines


@dead_app.command("retry")
def retry(
    dead_id: Annotated[str | None, typer.Argument(metavar="DEAD_ID", help="One dead letter.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    reason: Reason = None,
    config: Config = None,
    data: Data = None,
) -> int:
    """Try dead letters again after a fix, and wait until it is done; each is applied once.

    Beside a running `sendtrace up` its processor does it, else this command; on Kafka a worker.

    Exit code 1 when some are refused again.

    Example: sendtrace dead retry --reason wrong_type
    """
    if [dead_id is not None, every, reason is not None].count(True) != 1:
        raise typer.BadParameter("name one DEAD_ID, or give --all or --reason")
    _check_reason(reason)
    place = place_of(config, data)
    if place.settings is not None:
        return _retry_on_kafka(place, place.settings, dead_id, reason)
    paths = place.paths
    since = iso_ms(SystemClock().now_ms())
    ids = None if dead_id is None else [dead_id]
    asked = request_retry(paths.tables, requested_at=since, dead_ids=ids, reason=reason)
    if not asked:
        return _nothing_to_retry(place, dead_id)
    keys = embedded_keys(paths, config, data, make=True)
    _wait_until_tried(paths, rules=_rules(config, data), keys=keys)
    waiting, applied = retries_since(paths.tables, since)
    return _told(asked, applied=applied, waiting=waiting, whom="the running sendtrace")


def _retry_on_kafka(place: Place, settings: Settings, dead_id: str | None, reason: str | None) -> int:
    from sendtrace.kafka_retry import open_dead, retry_on_kafka  # noqa: PLC0415  the client, where there is a broker

    if dead_id is not None and not _may_be_tried(_letter(place, dead_id)):
        return _nothing_to_retry(place, dead_id)
    with closing(place.open_reader()) as reader:
        ids = [dead_id] if dead_id is not None else open_dead(reader, reason)
        if not ids:
            return _nothing_to_retry(place, None)
        tried = retry_on_kafka(settings, reader, ids, clock=SystemClock())
    return _told(len(ids), applied=tried.applied, waiting=tried.waiting, whom="a worker and the sink")


def _nothing_to_retry(place: Place, dead_id: str | None) -> int:
    if dead_id is not None and _letter(place, dead_id)["retried_at"] is not None:
        raise TroubleError(f"{safe(dead_id)} was applied by a retry already")
    if dead_id is not None and not _may_be_tried(_letter(place, dead_id)):
        raise TroubleError(f"{safe(dead_id)} cannot be tried again: its body was erased with a recipient's data")
    say("nothing to retry")
    return OK


def _told(asked: int, *, applied: int, waiting: int, whom: str) -> int:
    refused = max(0, asked - applied - waiting)
    parts = [f"{applied} applied"]
    if refused:
        parts.append(f"{refused} refused again, `sendtrace dead list` says why")
    if waiting:
        parts.append(f"{waiting} still waiting for {whom}")
    say(", ".join(parts))
    return OK if applied == asked else TROUBLE


def _wait_until_tried(paths: DataPaths, *, rules: Path | None, keys: PersonalKeys) -> None:
    """Until nothing waits any more, at most `_PATIENCE_S`; does it itself when nobody else works here."""
    clock = SystemClock()
    give_up_s = clock.monotonic_s() + _PATIENCE_S
    while retries_since(paths.tables, "").waiting and clock.monotonic_s() < give_up_s:
        if is_running(paths):
            time.sleep(_POLL_S)
            continue
        try:
            retry_now(paths, rules=rules, clock=clock, keys=keys)
        except AlreadyRunningError:  # started in between: its processor does it
            time.sleep(_POLL_S)


def _rules(config: Path | None, data: Path | None) -> Path | None:
    """The user's own rules, where there are settings that name some."""
    file = config_file(config, data)
    return settings_of(config, data=data).classifier.rules if file is None or file.is_file() else None


def _letter(place: Place, dead_id: str) -> DeadLetterView:
    with closing(place.open_reader()) as reader:
        letter = reader.dead_one(dead_id)
    if letter is None:
        raise TroubleError(f"there is no dead letter {safe(dead_id)}; `sendtrace dead list` shows them")
    return letter


def _may_be_tried(letter: DeadLetterView) -> bool:
    return letter["retried_at"] is None and letter["detail"] != ERASED_DETAIL


def _minute(letter: DeadLetterView) -> str:
    return moment(letter["received_at"])[:_MINUTE_CHARS]


def _check_reason(reason: str | None) -> None:
    known = [word.value for word in RejectReason]
    if reason is not None and reason not in known:
        hint = unknown_word(reason, known)
        raise typer.BadParameter(f"there is no reason {safe(reason)}; {hint}", param_hint="--reason")
