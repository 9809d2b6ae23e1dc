"""Sends one message through apprise, in a process of its own: a task on standard input, what came of it on output.

A process, because the library blocks, has no time limit of its own and opens its own connections: whoever started
this may end it at any moment, and here, where nothing else runs, every connection of every library can be judged by
the address it is made to. So redirects, and names that resolve to something else the second time, are judged too.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

from sinks.notifications.guard import GuardError, Policy, check_address

#: They tell this machine, and nobody else: of no use to somebody on call, and no network to be guarded.
_LOCAL: Final = frozenset({"syslog", "dbus", "glib", "gnome", "kde", "qt", "macosx", "windows"})
_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
_MOST_TOLD_CHARS: Final = 300


class Task(NamedTuple):
    """One message. `kind` is apprise's word: info, success, warning or failure."""

    url: str
    title: str
    body: str
    kind: str
    schemes: list[str]
    networks: list[str]


class Result(NamedTuple):
    """`status` where the library told one, else 0. `usable` is false where another attempt cannot help."""

    sent: bool
    status: int
    told: str
    usable: bool = True


class _Told(logging.Handler):
    """What the library says when something fails, the last of it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class _Guarded:
    """The connections of this process. `refused` is what was refused last."""

    def __init__(self, policy: Policy) -> None:
        self.refused = ""
        self._policy = policy

    def install(self) -> None:
        """For every socket made from now on, whichever library makes it."""
        for name in ("connect", "connect_ex", "sendto"):
            setattr(socket.socket, name, self._judging(getattr(socket.socket, name)))

    def _judging(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def judged(sock: socket.socket, *arguments: Any) -> Any:  # noqa: ANN401  the socket module's own signature
            *before, address = arguments
            return original(sock, *before, self._checked(sock, address))

        return judged

    def _checked(self, sock: socket.socket, address: Any) -> Any:  # noqa: ANN401  as above
        """The address with its name resolved, so that what is judged is what is connected to."""
        if sock.family not in {socket.AF_INET, socket.AF_INET6}:
            self.refused = "a connection within this machine"
            raise GuardError(self.refused)
        host, port, *rest = address
        try:
            found = socket.getaddrinfo(host, port, family=sock.family, type=sock.type)
            reached = found[0][4]
            check_address(str(reached[0]), self._policy)
        except GuardError as error:
            self.refused = str(error)
            raise
        return (reached[0], port, *(rest or reached[2:]))


def send(task: Task) -> Result:
    """Raises nothing for what the URL or the service does."""
    import apprise  # noqa: PLC0415  only once the guard is in place, for whatever it does when it is imported

    told = _Told()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [told], False
    service = apprise.Apprise.instantiate(task.url, suppress_exceptions=True)
    if service is None:
        return Result(sent=False, status=0, told="apprise does not know such a url", usable=False)
    scheme = task.url.partition("://")[0].lower()
    if scheme in _LOCAL:
        return Result(sent=False, status=0, told=f"{scheme}:// tells nobody but this machine", usable=False)
    if "http" not in task.schemes and scheme in _names(service.protocol):
        told_secure = ", ".join(f"{name}://" for name in sorted(_names(service.secure_protocol))) or "another service"
        return Result(sent=False, status=0, told=f"{scheme}:// is not encrypted, expected {told_secure}", usable=False)
    box = apprise.Apprise()
    box.add(service)
    sent = bool(box.notify(body=task.body, title=task.title, notify_type=task.kind, body_format="text"))
    status = next((int(found[1]) for line in told.lines if (found := _STATUS.search(line))), 0)
    return Result(sent=sent, status=status, told="" if sent else _hidden(told.lines, task.url))


def _names(protocol: object) -> set[str]:
    if isinstance(protocol, str):
        return {protocol}
    return set(protocol) if isinstance(protocol, tuple | list | set | frozenset) else set()


def _hidden(lines: list[str], url: str) -> str:
    """The first thing it said, without any part of the URL: most parts of it are secrets."""
    line = next(iter(lines), "it could not be sent")
    for part in sorted(re.split(r"[/:@?&=#]+", url), key=len, reverse=True):
        if len(part) > 3:  # noqa: PLR2004  shorter is no secret, and may be a word of its own
            line = line.replace(part, "***")
    return " ".join(line.split())[:_MOST_TOLD_CHARS]


@contextlib.contextmanager
def _output() -> Iterator[io.TextIOBase | Any]:
    """Standard output for the result alone; whatever a library prints goes nowhere."""
    real, sys.stdout = sys.stdout, io.StringIO()
    try:
        yield real
    finally:
        sys.stdout = real


def main() -> int:
    """`python -m sinks.notifications.apprise_process`: one task in, one line out."""
    with _output() as output:
        task = Task(**json.load(sys.stdin))
        guarded = _Guarded(Policy(task.schemes, [ip_network(text) for text in task.networks]))
        guarded.install()
        result = send(task)
        if not result.sent and guarded.refused:
            result = Result(sent=False, status=0, told=guarded.refused, usable=False)
        output.write(json.dumps(result._asdict()) + "\n")
        output.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
