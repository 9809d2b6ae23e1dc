"""From a reason to a class: replies of every form, and texts made to hurt."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.bounce_rules import BUILT_IN, Rule, read_rules
from processors.classify import ABORT_OTHER, CACHE_ENTRIES, UNCLASSIFIED, Classifier
from processors.smtp_reply import EXAMINED_MAX_CHARS, Reply, parse_reply
from schemas.statuses import FAILURE_WORDS, STATUSES, StatusWord

classifier = Classifier.load(None)
OURS = read_rules(BUILT_IN)
EXAMPLES = [(rule, example) for rule in OURS.rules for example in rule.examples]
FAILED = sorted(FAILURE_WORDS | {"deferred"})


def _status(rule: Rule) -> str:
    return min(rule.status, default="aborted" if OURS.classes[rule.bounce_class].set == "abort" else "bounced")


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=[f"{rule.id}: {text[:40]!r}" for rule, text in EXAMPLES])
def test_an_example_is_decided_by_its_rule(rule: Rule, example: str) -> None:
    found = classifier.explain(_status(rule), example)

    assert found is not None
    assert (found.rule_id, found.bounce_class) == (rule.id, rule.bounce_class)


def test_every_rule_has_an_example_and_every_class_a_rule_or_is_a_default() -> None:
    assert [rule.id for rule in OURS.rules if not rule.examples] == []
    assert OURS.classes.keys() - {rule.bounce_class for rule in OURS.rules} == {UNCLASSIFIED, ABORT_OTHER}


@pytest.mark.parametrize("name", OURS.classes)
def test_a_class_tells_people_what_it_means_and_what_to_do(name: str) -> None:
    found = classifier.catalogue[name]

    assert found.meaning.endswith(".")
    assert found.advice.endswith(".")
    assert name.startswith("abort_") == (found.set == "abort")


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: row.word)
def test_only_failures_and_deferrals_have_a_class(row: StatusWord) -> None:
    found = classifier.classify(row.word, row.word, "550 5.1.1 no such user")

    assert (found is None) == (row.word not in FAILED)


@pytest.mark.parametrize(
    ("reason", "code", "enhanced", "words"),
    [
        ("550 5.1.1 No such user", "550", "5.1.1", "no such user"),
        ("550-5.1.1 No\r\n550-5.1.1 such\n550 5.1.1 user", "550", "5.1.1", "no such user"),
        ("550-5.1.1 No 550-5.1.1 such 550 5.1.1 user", "550", "5.1.1", "no such user"),
        ("550-5.1.1 No\\r\\n550 5.1.1 such user", "550", "5.1.1", "no such user"),
        ("550-No such\n550 user", "550", None, "no such 550 user"),
        ("550 #5.1.0 Address rejected.", "550", "5.1.0", "address rejected."),
        ("550-#5.1.0 Address\n550 #5.1.0 rejected.", "550", "5.1.0", "address rejected."),
        ("550 (5.1.1) No", "550", "5.1.1", "(5.1.1) no"),
        ("554 30 Sorry", "554", None, "30 sorry"),
        ("5.1.1", None, "5.1.1", "5.1.1"),
        ("#5.1.1 No", None, "5.1.1", "no"),
        ("550", "550", None, "550"),
        ("smtp; 550 5.1.1 No", "550", "5.1.1", "smtp; no"),
        ("smtp;550 No", "550", None, "smtp;550 no"),
        ("host mx.example.org[192.0.2.9] said: 550 No", "550", None, "host mx.example.org[192.0.2.9] said: 550 no"),
        ("Remote server returned 550 No", "550", None, "remote server returned 550 no"),
        ("No such user (550)", "550", None, "no such user (550)"),
        ("Mailbox is full", None, None, "mailbox is full"),
        ("no\0such\tuser", None, None, "no such user"),
        ("<Ana.P@example.org>: no ana@example.org", None, None, "<address>: no <address>"),
        ("no 41be03b00d2f7-7a0d1c02af1 gsmtp", None, None, "no <id> gsmtp"),
        ("", None, None, ""),
    ],
)
def test_s15_a_reply_is_taken_apart(reason: str, code: str | None, enhanced: str | None, words: str) -> None:
    assert parse_reply(reason) == Reply(code, enhanced, words)


@pytest.mark.parametrize(
    "reason",
    [
        "message exceeds 500 KB",
        "quota 5.1.1.9 exceeded",
        "host 4.2.2.1 refused",
        "connect to 10.5.1.1",
        "server v5.1.2",
        "Exim 4.92.3 refused",
        "port 587-5.1.1x",
        "602 unknown",
        "460 unknown",
        "1550 unknown",
        "550x unknown",
        "250 2.0.0 OK",
        "call 555-5555",
    ],
)
def test_what_only_looks_like_a_code_is_none(reason: str) -> None:
    reply = parse_reply(reason)

    assert (reply.code, reply.enhanced) == (None, None)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        # 5.7.x: the same code means policy, proof of origin, reputation, content or relaying
        ("550 5.7.1 Message rejected", "policy"),
        ("550 5.7.1 Email rejected per SPF policy", "authentication"),
        (
            "550-5.7.1 This message does not have authentication information or fails to\n550 5.7.1 pass DKIM checks.",
            "authentication",
        ),
        ("550 5.7.1 Client host blocked using a blocklist", "block_list"),
        ("550 5.7.1 Spam message rejected", "spam_content"),
        ("550 5.7.1 <x@example.org>: Relay access denied", "relay_denied"),
        ("451 4.7.1 Greylisted, try again in 5 minutes", "greylisted"),
        # what one receiver means by a code against its plain meaning
        ("550 5.4.1 Recipient address rejected: Access denied", "unknown_recipient"),
        ("554 30 Sorry, this mailbox is disabled (554.30).", "inactive_mailbox"),
        ("421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints", "rate_limited"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound", "unknown_recipient"),
        # no enhanced code, or no code at all
        ("550 User unknown", "unknown_recipient"),
        ("550 refused", "permanent_other"),
        ("User unknown", "unknown_recipient"),
        ("The mailbox is over quota", "mailbox_full"),
        ("something else went wrong", "unclassified"),
        # words in addresses, host names and ids do not count
        ("550 5.1.1 <spam.policy@spf.example.org> refused", "unknown_recipient"),
        ("host spam.example.org said: 552 5.2.2 refused", "mailbox_full"),
        ("host mx.barracudanetworks.com said: 550 5.1.1 user unknown", "unknown_recipient"),
        ("452 4.3.1 Insufficient system storage", "transient_other"),
        ("450 4.1.8 Sender address rejected: Domain not found", "bad_sender"),
        ("550 5.1.2 Recipient address rejected: Domain not found", "bad_domain"),
        ("552 5.2.3 Message exceeds the maximum size", "too_large"),
    ],
)
def test_s15_the_class_of_a_reply(reason: str, expected: str) -> None:
    assert classifier.classify("bounced", "bounced", reason) == expected


@pytest.mark.parametrize("status", FAILED)
def test_a_failure_without_a_reason_has_a_class_all_the_same(status: str) -> None:
    expected = {"aborted": ABORT_OTHER, "expired": "retries_exhausted"}.get(status, UNCLASSIFIED)

    assert classifier.classify(status, status, None) == classifier.classify(status, status, "") == expected


def test_aborts_and_bounces_are_classed_apart() -> None:
    reason = "550 5.1.1 user unsubscribed"

    assert classifier.classify("aborted", "aborted", reason) == "abort_unsubscribed"
    assert classifier.classify("bounced", "bounced", reason) == "unknown_recipient"


def test_what_stands_beyond_the_examined_part_does_not_count() -> None:
    filler = "x " * (EXAMINED_MAX_CHARS // 2)

    assert classifier.classify("bounced", "bounced", filler + "user unknown") == UNCLASSIFIED
    assert classifier.classify("bounced", "bounced", filler[:-20] + "user unknown") == "unknown_recipient"


def test_the_memory_of_past_reasons_is_bounded() -> None:
    fresh = Classifier.load(None)
    fresh.classify("bounced", "bounced", "550 refused")
    for number in range(20):
        fresh.classify("bounced", "bounced", f"{number} " * 300)  # too long to be worth remembering

    for memory in (fresh._by_reason, fresh._by_reply):
        assert (memory.cache_info().maxsize, memory.cache_info().currsize) == (CACHE_ENTRIES, 1)


HOSTILE = ["a", "a@", "@", "<", "-", "4", "550-", "5.1.1 ", "\\n", "ip ", "address ", "mailbox ", "user is ", "the "]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_text_made_to_be_slow_takes_a_blink(piece: str) -> None:
    """Measured at 8 ms for the worst of these on one core; the bound leaves room for a busy machine."""
    text = (piece * EXAMINED_MAX_CHARS)[:EXAMINED_MAX_CHARS]
    started = time.perf_counter()

    for status in ("bounced", "aborted"):
        classifier.explain(status, text)

    assert time.perf_counter() - started < 0.5


@given(st.sampled_from(FAILED), st.text(max_size=300))
def test_any_text_has_a_class_of_the_catalogue(status: str, reason: str) -> None:
    found = classifier.classify(status, status, reason)

    assert found is not None
    assert classifier.catalogue[found].set == ("abort" if status == "aborted" else "bounce")


@given(st.text(max_size=200))
def test_remembering_changes_no_answer(reason: str) -> None:
    explained = classifier.explain("bounced", reason)

    assert explained is not None
    for _ in range(2):
        assert classifier.classify("bounced", "bounced", reason) == explained.bounce_class
