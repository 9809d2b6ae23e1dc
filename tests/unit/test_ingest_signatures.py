"""Standard Webhooks signatures: what holds, what does not, and that nothing raises."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.signatures import TOLERANCE_S, Signed, holds, secret_bytes, signature

KEY = b"a key of twenty-four by."
OTHER = b"another key of some size"
NOW_S = 1_700_000_000
BODY = b'{"a": 1}'


def signed(key: bytes = KEY, *, at_s: int = NOW_S, body: bytes = BODY) -> Signed:
    time = b"%d" % at_s
    return Signed(b"msg_1", time, signature(key, b"msg_1", time, body))


def test_the_published_example_holds() -> None:
    """Secret, id, time, body and signature as the Standard Webhooks libraries test them."""
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(secret, b"msg_p5jXN8AQM9LWM0D4loKWxJek", b"1614265330", b'{"test": 2432232314}')

    assert made == b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("drift_s", [-TOLERANCE_S, 0, TOLERANCE_S])
def test_a_signature_holds_up_to_five_minutes_from_now(drift_s: int) -> None:
    assert holds([KEY], signed(at_s=NOW_S + drift_s), BODY, NOW_S)


@pytest.mark.parametrize("drift_s", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_stale_and_future_signatures_do_not_hold(drift_s: int) -> None:
    assert not holds([KEY], signed(at_s=NOW_S + drift_s), BODY, NOW_S)


def test_any_secret_and_any_signature_will_do() -> None:
    given_two = signed()._replace(signatures=b"v1,AAAA v2,xyz " + signed().signatures)

    assert holds([OTHER, KEY], given_two, BODY, NOW_S)


@pytest.mark.parametrize(
    "forged",
    [
        signed(OTHER),
        signed(body=b"{}"),
        signed()._replace(message_id=b"msg_2"),
        signed()._replace(message_id=b""),
        signed()._replace(time=b"%d" % (NOW_S + 1)),
        signed()._replace(signatures=b""),
        signed()._replace(signatures=signed().signatures.removeprefix(b"v1,")),
    ],
)
def test_what_was_not_signed_so_does_not_hold(forged: Signed) -> None:
    assert not holds([KEY], forged, BODY, NOW_S)


@pytest.mark.parametrize("time", [b"", b"now", b"1e9", b"-1", b"1.5", b"9" * 13, b"\xd9\xa3", b" 1700000000", b"nan"])
def test_a_time_that_is_no_number_does_not_hold(time: bytes) -> None:
    made = Signed(b"msg_1", time, signature(KEY, b"msg_1", time, BODY))

    assert not holds([KEY], made, BODY, NOW_S)


@given(st.builds(Signed, st.binary(), st.binary() | st.just(b"%d" % NOW_S), st.binary()), st.binary())
def test_no_header_whatsoever_raises_or_holds(forged: Signed, body: bytes) -> None:
    assert not holds([KEY, OTHER], forged, body, NOW_S)


def test_a_secret_is_base64_behind_its_prefix_and_text_without() -> None:
    assert secret_bytes("whsec_" + b64encode(KEY).decode()) == KEY
    assert secret_bytes("sixteen letters!") == b"sixteen letters!"


@pytest.mark.parametrize("text", ["whsec_!!!", "whsec_AAAA", "brief", ""])
def test_a_weak_or_broken_secret_is_refused_without_being_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|shorter") as caught:
        secret_bytes(text)

    assert not text or text not in str(caught.value)
