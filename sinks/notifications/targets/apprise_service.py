"""Slack, mail and the rest: whatever apprise has a URL for, sent by a process of its own (`apprise_process`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

from schemas.incidents import Severity
from sinks.notifications.answers import outcome_of
from sinks.notifications.guard import Policy
from sinks.notifications.guarded_http import Answer
from sinks.notifications.planning import Shape
from sinks.notifications.records import Message, Notice, Outcome, rank
from sinks.notifications.words import Links, masked, text_of

SHAPE: Final = Shape(most_lines=5, counts_rest=True, tells_passed=True)
#: For the process to start in, on a busy machine.
_START_S: Final = 10.0
_MOST_OUTPUT_BYTES: Final = 65_536
#: All the process gets of the environment: neither proxies nor settings.
_ENVIRONMENT: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_KINDS: Final[Mapping[Severity, str]] = {
    "info": "info",
    "warning": "warning",
    "error": "failure",
    "critical": "failure",
}


class AppriseTarget:
    """A `Channel`."""

    shape = SHAPE

    def __init__(self, *, url: str, policy: Policy, timeout_s: float, links: Links) -> None:
        self._url = url
        self._policy = policy
        self._timeout_s = timeout_s
        self._links = links

    async def send(self, message: Message, now_ms: int) -> Outcome:
        """See `Channel`."""
        text = text_of(message.notice, self._links)
        task = {
            "url": self._url,
            "title": text.title,
            "body": text.body,
            "kind": kind_of(message.notice),
            "schemes": list(self._policy.schemes),
            "networks": [str(network) for network in self._policy.networks],
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sinks.notifications.apprise_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,  # so that whatever it starts ends with it
        )
        try:
            async with asyncio.timeout(self._timeout_s + _START_S):
                output = await _talk(process, json.dumps(task).encode())
        except TimeoutError:
            return Outcome("again", f"not sent within {self._timeout_s:g} s")
        finally:
            await _end(process)
        return _outcome(output, now_ms)


def kind_of(notice: Notice) -> str:
    """Apprise's word for how bad it is."""
    bad = [line["incident"]["severity"] for line in notice["lines"] if line["word"] not in {"resolved", "passed"}]
    return _KINDS[max(bad, key=rank)] if bad else "success"


async def _talk(process: asyncio.subprocess.Process, task: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""
    with contextlib.suppress(ConnectionError):
        process.stdin.write(task)
        await process.stdin.drain()
    process.stdin.close()
    return await process.stdout.read(_MOST_OUTPUT_BYTES)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _outcome(output: bytes, now_ms: int) -> Outcome:
    try:
        result = json.loads(output)
        sent, status, usable = (result[name] for name in ("sent", "status", "usable"))
        told = masked(str(result["told"]))
    except (ValueError, KeyError, TypeError):
        return Outcome("again", "the process that sends it ended before it had")
    if sent:
        return Outcome("delivered", "sent")
    if status:
        judged = outcome_of(Answer(int(status), {}, told.encode(), 0.0), now_ms=now_ms)
        return judged if judged.state != "delivered" else Outcome("again", told)
    return Outcome("again" if usable else "refused", told)
