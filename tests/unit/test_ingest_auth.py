"""Sources and the gatekeeper: who passes, who does not, and that all who do not look the same."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256
from ipaddress import ip_address

import pytest

from ingest.addresses import Address
from ingest.auth import Denial, Gatekeeper, Source

OLD, NEW = "old-token-of-forty-three-characters-or-so", "new-token-of-forty-three-characters-or-so"
HOME = ip_address("192.0.2.1")


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def source(name: str = "braze", *tokens: str, **options: object) -> Source:
    digests = tuple(digest(token) for token in tokens or (OLD,))
    return Source(name=name, provider="braze", token_sha256=digests, **options)  # type: ignore[arg-type]  # options vary


def check(
    *sources: Source, name: str = "braze", token: str = OLD, authorization: bytes = b"", address: Address = HOME
) -> Source | Denial:
    keeper = Gatekeeper(sources)
    return keeper.check(name=name.encode(), token=token.encode(), authorization=authorization, address=address)


def basic(user: str, password: str, scheme: str = "Basic") -> bytes:
    return scheme.encode() + b" " + b64encode(f"{user}:{password}".encode())


def test_the_right_token_passes() -> None:
    braze = source()

    assert check(braze) is braze


def test_two_tokens_are_valid_while_rotating_and_one_after() -> None:
    assert isinstance(check(source("braze", OLD, NEW), token=OLD), Source)
    assert isinstance(check(source("braze", OLD, NEW), token=NEW), Source)
    assert check(source("braze", NEW), token=OLD) is Denial.WRONG_TOKEN


def test_a_token_opens_its_own_source_only() -> None:
    nrs = source("nrs", NEW)

    assert check(source(), nrs, name="nrs", token=OLD) is Denial.WRONG_TOKEN
    assert check(source(), nrs, name="nrs", token=NEW) is nrs


@pytest.mark.parametrize("token", ["", OLD[:-1], OLD + "x", digest(OLD)])
def test_nothing_but_the_token_is_the_token(token: str) -> None:
    assert check(source(), token=token) is Denial.WRONG_TOKEN


def test_a_source_that_does_not_exist_lets_nobody_in() -> None:
    assert check(source(), name="other") is Denial.UNKNOWN_SOURCE
    assert check(name="braze") is Denial.UNKNOWN_SOURCE


def test_basic_credentials_are_asked_for_where_configured() -> None:
    guarded = source(basic_user="me", basic_password="s:cret")

    assert check(guarded, authorization=basic("me", "s:cret")) is guarded
    assert check(guarded, authorization=basic("me", "s:cret", scheme="bAsIc")) is guarded
    assert check(source(), authorization=basic("any", "thing")) == source()


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        basic("me", "wrong"),
        basic("you", "s:cret"),
        basic("me", "s:cret", scheme="Bearer"),
        b"Basic",
        b"Basic ====",
        b"Basic \xff\xfe",
        b"Basic " + b64encode(b"no colon"),
        basic("me", "s:cret") + b", " + basic("me", "s:cret"),
    ],
)
def test_wrong_or_malformed_credentials_are_refused(authorization: bytes) -> None:
    guarded = source(basic_user="me", basic_password="s:cret")

    assert check(guarded, authorization=authorization) is Denial.WRONG_CREDENTIALS


def test_an_address_outside_the_list_is_refused_with_the_right_token() -> None:
    listed = source(allow_addresses=("192.0.2.0/24", "2001:db8::/32"))

    assert check(listed) is listed
    assert check(listed, address=ip_address("2001:db8::1")) is listed
    assert check(listed, address=ip_address("198.51.100.1")) is Denial.FOREIGN_ADDRESS


def test_an_unknown_source_costs_the_same_comparisons_as_a_wrong_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is counted, not timed: a clock would be at the mercy of this machine."""
    compared: list[tuple[int, int]] = []

    def counting(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr("ingest.auth.compare_digest", counting)
    keeper = Gatekeeper([source("braze", OLD, NEW), source("nrs", "x", basic_user="me", basic_password="p")])
    work = []
    for name, token in ((b"braze", OLD), (b"braze", "wrong"), (b"nrs", "wrong"), (b"nobody", OLD), (b"\xff", "")):
        compared.clear()
        keeper.check(name=name, token=token.encode(), authorization=b"", address=None)
        work.append(tuple(compared))

    assert len(set(work)) == 1
    assert work[0] == ((32, 32),) * 4


def test_a_source_does_not_print_its_secrets() -> None:
    printed = repr(
        source(basic_user="canary-user", basic_password="canary-password", hmac_secrets=("canary-secret-canary",))
    )

    assert "canary" not in printed
    assert digest(OLD) not in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "source name 'a/b'"),
        ({"name": ""}, "source name ''"),
        ({"token_sha256": ()}, "token_sha256: expected 1 to 10"),
        ({"token_sha256": ("0" * 64,) * 11}, "token_sha256: expected 1 to 10"),
        ({"token_sha256": ("0" * 63,)}, "token_sha256: expected 64 hex digits"),
        ({"basic_user": "me"}, "basic_user: expected together with basic_password"),
        ({"basic_user": "m:e", "basic_password": "p"}, "basic_user: expected a name without ':'"),
        ({"basic_user": "", "basic_password": ""}, "basic_user: expected a name"),
        ({"hmac_secrets": ("short",)}, "hmac_secrets: shorter than 16 bytes"),
        ({"hmac_secrets": ("a secret of many letters",) * 11}, "hmac_secrets: expected at most 10"),
        ({"allow_addresses": ("10.0.0.0/33",)}, "allow_addresses: .*10.0.0.0/33"),
    ],
)
def test_a_wrong_source_is_refused_by_field(options: dict[str, object], message: str) -> None:
    right: dict[str, object] = {"name": "braze", "provider": "braze", "token_sha256": (digest(OLD),)}

    with pytest.raises(ValueError, match=message):
        Source(**(right | options))  # type: ignore[arg-type]  # the fields vary


def test_sources_may_not_share_a_name_or_a_token() -> None:
    with pytest.raises(ValueError, match="source 'braze': configured twice"):
        Gatekeeper([source(), source("braze", NEW)])
    with pytest.raises(ValueError, match="source 'nrs': token_sha256: shares a token with source 'braze'"):
        Gatekeeper([source(), source("nrs", OLD)])


def remembered(*sources: Source, name: bytes = b"braze", token: str = OLD, authorization: bytes = b"") -> Source | None:
    """What is remembered after one request with just these credentials."""
    keeper = Gatekeeper(sources)
    keeper.check(name=name, token=token.encode(), authorization=authorization, address=HOME)
    return keeper.passed(name=name, token=token.encode(), authorization=authorization)


def test_credentials_that_passed_are_remembered() -> None:
    braze = source()

    assert remembered(braze) is braze


def test_what_was_not_let_in_is_not_remembered() -> None:
    assert remembered(source(), token=NEW) is None
    assert remembered(source(), name=b"other") is None
    assert remembered(source(basic_user="u", basic_password="p"), authorization=basic("u", "wrong")) is None


def test_a_source_with_an_address_list_is_checked_each_time() -> None:
    assert remembered(source(allow_addresses=("192.0.2.0/24",))) is None


def test_what_is_remembered_fits_these_credentials_only() -> None:
    keeper = Gatekeeper([source(basic_user="u", basic_password="p"), source("other", NEW)])
    right = {"name": b"braze", "token": OLD.encode(), "authorization": basic("u", "p")}
    keeper.check(**right, address=HOME)

    assert keeper.passed(**right) is not None
    for part, wrong in (("name", b"other"), ("token", NEW.encode()), ("authorization", b"")):
        assert keeper.passed(**{**right, part: wrong}) is None


def test_what_is_remembered_is_bounded() -> None:
    keeper = Gatekeeper([source()])
    tries = [b"x%d" % number for number in range(1000)]
    for authorization in (*tries, b"x" * 2000):
        keeper.check(name=b"braze", token=OLD.encode(), authorization=authorization, address=HOME)
    known = [one for one in tries if keeper.passed(name=b"braze", token=OLD.encode(), authorization=one)]

    assert 0 < len(known) <= 256
    assert keeper.passed(name=b"braze", token=OLD.encode(), authorization=b"x" * 2000) is None
