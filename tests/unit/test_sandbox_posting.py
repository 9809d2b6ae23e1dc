"""Posting over real sockets: retries as each provider makes them, and connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sendtrace import sandbox
from sendtrace.clock import SystemClock
from sendtrace.sandbox import Sandbox
from sendtrace.sandbox_http import NoAnswerError, Poster
from sendtrace.sandbox_posting import Posting

HURRY = 60_000.0  # a minute becomes a millisecond


class Receiver:
    """An HTTP server of a few lines that answers what a test says, request by request."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.arrived = asyncio.Event()
        self.connections = 0
        self.open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open[asyncio.get_running_loop().create_task(self.handle(reader, writer))] = writer

    async def close(self) -> None:
        for writer in self.open.values():
            writer.close()
        await asyncio.gather(*self.open, *(w.wait_closed() for w in self.open.values()), return_exceptions=True)

    def next_answer(self) -> str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                self.arrived.set()
                answer = self.next_answer()
                if not answer:
                    break
                writer.write(answer.encode())
                if "close" in answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(*answers: str) -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver(*answers)
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver, f"http://127.0.0.1:{port}/in/x/token"
        await receiver.close()


def answer(code: int, extra: str = "") -> str:
    return f"HTTP/1.1 {code} Word\r\n{extra}Content-Length: 2\r\n\r\nok"


def posting(provider: str = "nrs360", at_s: float = 0.0) -> Posting:
    return Posting(at_s, provider, "text/plain", b"body")


async def posted(provider: str, url: str) -> Sandbox:
    """One posting and all its retries."""
    stand_ins = Sandbox({provider: url}, clock=SystemClock(), hurry=HURRY)
    async with asyncio.timeout(5):
        await stand_ins.run(iter([posting(provider)]), asyncio.Event())
    return stand_ins


@pytest.mark.parametrize("code", [202, 204, 404, 500, 503])
async def test_360nrs_tries_five_times_more_on_anything_but_200(code: int) -> None:
    async with receiving(answer(code)) as (receiver, url):
        stand_ins = await posted("nrs360", url)

    assert len(receiver.requests) == 6
    assert (stand_ins.tally.retries, stand_ins.tally.lost) == (5, 1)


async def test_360nrs_stops_at_the_first_200() -> None:
    async with receiving(answer(503), answer(500), answer(200)) as (receiver, url):
        stand_ins = await posted("nrs360", url)

    assert len(receiver.requests) == 3
    assert stand_ins.tally.lost == 0


async def test_braze_posts_once_whatever_the_answer() -> None:
    async with receiving(answer(503)) as (receiver, url):
        stand_ins = await posted("braze", url)

    assert len(receiver.requests) == 1
    assert stand_ins.tally.line() == "1 posted, 0 answered 200, 1 answered 503, 1 given up"


def test_the_pauses_of_360nrs_are_those_of_its_page() -> None:
    assert sandbox.RETRY_WAITS_S["nrs360"] == (60, 120, 180, 240, 300)


async def test_nobody_listening_is_no_answer() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    with pytest.raises(NoAnswerError):
        await Poster(f"http://127.0.0.1:{port}/").post("text/plain", b"")


async def test_a_request_is_sent_as_it_should_be() -> None:
    async with receiving(answer(200)) as (receiver, url):
        poster = Poster(url + "?a=50%25")
        await poster.post("text/plain; charset=utf-8", b"\x00body")
        poster.close()
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")

    assert head.splitlines()[0] == b"POST /in/x/token?a=50%25 HTTP/1.1"
    assert b"Content-Type: text/plain; charset=utf-8" in head.splitlines()
    assert body == b"\x00body"


async def test_user_and_password_of_the_url_become_basic_authentication() -> None:
    async with receiving(answer(200)) as (receiver, url):
        poster = Poster(url.replace("http://", "http://me:s%3Acret@"))
        await poster.post("text/plain", b"")
        poster.close()

    assert b"Authorization: Basic bWU6czpjcmV0" in receiver.requests[0].splitlines()
    assert b"me:" not in receiver.requests[0]


async def test_a_connection_is_used_again() -> None:
    async with receiving(answer(200)) as (receiver, url):
        poster = Poster(url)
        codes = [await poster.post("text/plain", b"") for _ in range(3)]
        poster.close()

    assert codes == [200, 200, 200]
    assert receiver.connections == 1


async def test_a_connection_closed_meanwhile_is_replaced() -> None:
    async with receiving(answer(200), "", answer(200)) as (receiver, url):
        poster = Poster(url)
        await poster.post("text/plain", b"first")

        assert await poster.post("text/plain", b"second") == 200
        poster.close()

    assert receiver.connections == 2


@pytest.mark.parametrize("wrong", ["", "SMTP ready\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_not_http_is_no_answer(wrong: str) -> None:
    async with receiving(wrong) as (_, url):
        with pytest.raises(NoAnswerError):
            await Poster(url).post("text/plain", b"")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080/in", "ftp://example.org/", "http://", "http://example.org:port/"])
def test_a_url_that_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL for braze"):
        Sandbox({"braze": url}, clock=SystemClock())


async def test_stopping_gives_up_what_waits_for_a_retry() -> None:
    async with receiving(answer(503)) as (receiver, url):
        stand_ins = Sandbox({"nrs360": url}, clock=SystemClock())
        stop = asyncio.Event()
        running = asyncio.create_task(stand_ins.run(iter([posting(), posting(at_s=60)]), stop))
        await receiver.arrived.wait()
        stop.set()
        async with asyncio.timeout(2):
            await running

    assert len(receiver.requests) == 1
