"""A message in words: what is in it, and what must not be."""

from __future__ import annotations

import pytest

from sinks.notifications.records import Line, Notice
from sinks.notifications.words import Links, masked, masked_incident, text_of
from tests.unit.notify_rig import LINKS_URL, incident

LINKS = Links(LINKS_URL)


def notice(*lines: Line, **more: int) -> Notice:
    return Notice(lines=list(lines), more=more, firing=[], digest=None, sample=False)  # type: ignore[typeddict-item]  # words


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("550 5.1.1 <jane.doe@example.com>: unknown", "550 5.1.1 ([address]): unknown"),
        ("unknown user: jane+tag@ex-ample.co.uk.", "unknown user: [address]"),
        ("rcpt=jane%40example.com rejected", "rcpt=[address] rejected"),
        ("josé@exämple.com JANE@EXAMPLE.COM", "[address] [address]"),
        ('"jane doe"@example.com x', '"jane doe"(at)example.com x'),
        ("no route to +34 612 345 678", "no route to [phone]"),
        ("0034612345678 is barred, (020) 7946-0958 too", "[phone] is barred, [phone] too"),
        ("250 2.1.5 Queued as 4Xy7Q2 at 203.0.113.25", "250 2.1.5 Queued as 4Xy7Q2 at 203.0.113.25"),
        ("550 5.7.1 blocked 2026-11-21", "550 5.7.1 blocked 2026-11-21"),
        ("<!channel> @here [click](http://x) `rm`", "(!channel) (at)here [click] (http://x) 'rm'"),
        ("a\r\nb\x1b[31mc\u202ed\x00", "a b [31mc d"),
    ],
)
def test_nobodys_address_and_no_markup_leaves(said: str, told: str) -> None:
    assert masked(said) == told


def test_one_incident_is_told_whole() -> None:
    text = text_of(notice(Line(word="opened", change_id="c", incident=incident(total=4000))), LINKS)

    assert text.title == "ERROR new: block_list bounces at example.net"
    assert text.body.splitlines() == [
        "1,204 of 4,000 since 2020-09-13 12:25 UTC · class block_list, source braze, campaign c1, domain example.net",
        'The provider\'s words: "550 5.7.1 ([address]) blocked"',
        "What to do: Ask the list to remove you.",
        "Incident: https://sendtrace.example.com/incidents/i1",
        "One of the messages: https://sendtrace.example.com/messages/m1",
    ]


def test_what_has_no_room_is_counted() -> None:
    lines = [Line(word="opened", change_id="c", incident=incident(name)) for name in ("i1", "i2")]
    text = text_of(notice(*lines, opened=31, resolved=6), LINKS)

    assert text.title == "ERROR: incidents: 33 opened, 6 resolved"
    assert text.body.endswith("and 37 more changes: 31 opened, 6 resolved; see https://sendtrace.example.com/")


def test_what_is_over_needs_nothing_done() -> None:
    over = incident(state="resolved", resolved_at="2020-09-13T13:00:00.000Z")
    text = text_of(notice(Line(word="resolved", change_id="c", incident=over)), LINKS)

    assert text.title == "ERROR over: block_list bounces at example.net"
    assert "until 2020-09-13 13:00 UTC" in text.body
    assert "What to do" not in text.body


def test_a_record_leaves_without_addresses_too() -> None:
    told = masked_incident(incident(title="Bounces of <jane@example.org>", campaign_id="123456789012"))

    assert "jane" not in str(told)
    assert told["campaign_id"] == "123456789012"


def test_a_number_of_a_campaign_in_a_title_is_no_telephones() -> None:
    text = text_of(notice(Line(word="opened", change_id="c", incident=incident(title="Campaign 123456789012"))), LINKS)

    assert text.title == "ERROR new: Campaign 123456789012"


def test_silence_has_nothing_to_count() -> None:
    quiet = incident(kind="silence", count=0, samples=[], domain=None, campaign_id=None)
    quiet["class"] = None
    text = text_of(notice(Line(word="opened", change_id="c", incident=quiet)), LINKS)

    assert text.body.splitlines()[0] == "since 2020-09-13 12:25 UTC · source braze"
