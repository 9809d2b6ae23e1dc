"""Secrets stay inside: whatever is sent, nothing of it shows in a log, an answer or a counter."""

from __future__ import annotations

import logging
from base64 import b64encode

import pytest

from tests.integration.gateway_rig import PATH, TOKEN, braze, chunked, on_uvloop, post, serving

CANARY = "canary"
REQUESTS = (
    post(b"canary-body"),
    post(b"canary-body", "X-Canary: canary-header", path=f"/in/braze/canary-wrong-{TOKEN}"),
    post(b"canary-body", path="/canary-path?canary-query"),
    post(b"canary-body", path="/in/canary-source/canary"),
    post(b"canary-body", method="PUT"),
    post(b"canary-body", "Expect: canary"),
    post(b"canary-body", "Authorization: Basic " + b64encode(b"canary:canary").decode()),
    post(b"canary-body", length=99_999_999),
    post(b"canary-body", "Transfer-Encoding: canary", length=None),
    post(b"canary-body", "Upgrade: canary", "Connection: upgrade"),
    chunked(b"canary-body", fields=("Trailer: canary",)),
    b"canary garbage\r\n\r\n",
    f"POST {PATH} HTTP/1.1\r\ncanary\x00: canary\r\n\r\n".encode(),
)


def test_nothing_sent_is_logged_answered_or_counted(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answers: list[bytes] = []
    shown: list[str] = []

    @on_uvloop
    async def send_everything() -> None:
        async with serving() as rig:
            answers.extend([await rig.ask(request) for request in REQUESTS])
            assert await rig.status(post()) == 200
            shown.append(repr((rig.gateway, rig.gateway.counters, braze(hmac_secrets=("canary-secret-canary",)))))

    with caplog.at_level(logging.DEBUG):
        send_everything()

    written = capfd.readouterr()
    assert CANARY.encode() not in b"".join(answers).lower()
    for text in (caplog.text, written.out, written.err, *shown):
        assert CANARY not in text.lower()
