"""Posts the stand-in providers' traffic to real postback URLs, and behaves as the providers do.

360NRS tries again after anything but exactly 200, five times, after 1, 2, 3, 4 and 5 more minutes
(seed 003). Braze documents no second try, so there is none. Refuses to hurry what is late: with all
its connections busy it waits, as a provider's queue would.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from schemas.ports import Clock
from sendtrace import sandbox_braze, sandbox_nrs
from sendtrace.sandbox_http import NoAnswerError, Poster
from sendtrace.sandbox_posting import Posting

MOST_IN_FLIGHT: Final = 64
MOST_WAITING: Final = 20_000
OK: Final = 200
_MINUTE_S: Final = 60.0
#: Pauses between tries, in seconds.
RETRY_WAITS_S: Final[Mapping[str, tuple[float, ...]]] = {
    sandbox_braze.NAME: (),
    sandbox_nrs.NAME: tuple(minutes * _MINUTE_S for minutes in (1, 2, 3, 4, 5)),
}


class Tally:
    """What became of the postings so far. `answers` counts by status code; `None`: there was none."""

    def __init__(self) -> None:
        self.posted = 0  # different postings, tried at least once
        self.retries = 0
        self.lost = 0  # given up by the provider
        self.answers: Counter[int | None] = Counter()

    def line(self) -> str:
        """One line for people."""
        return ", ".join((f"{self.posted} posted", f"{self.answers[OK]} answered 200", *self.trouble()))

    def trouble(self) -> list[str]:
        """What did not go well, in words; usually nothing."""
        other = [
            f"{count} {'without an answer' if code is None else f'answered {code}'}"
            for code, count in sorted(self.answers.items(), key=str)
            if code != OK
        ]
        tried = [f"{self.retries} tried again"] if self.retries else []
        return [*other, *tried, *([f"{self.lost} given up"] if self.lost else [])]


class Sandbox:
    """The stand-in providers, posting each one's traffic to its URL until told to stop."""

    def __init__(self, urls: Mapping[str, str], *, clock: Clock, hurry: float = 1.0) -> None:
        """`urls`: provider → postback URL. `hurry` divides the pauses before retries. Raises `ValueError`."""
        self.tally = Tally()
        self._posters = {provider: _poster(provider, url) for provider, url in urls.items()}
        self._clock = clock
        self._hurry = hurry
        self._free = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, postings: Iterator[Posting], stop: asyncio.Event) -> None:
        """Post each when it is due until the postings and their retries are over, or `stop` is set."""
        begin_s = self._clock.monotonic_s()
        for posting in postings:
            if await self._stopped_before(begin_s + posting.at_s, stop):
                break
            await self._free.acquire()
            task = asyncio.get_running_loop().create_task(self._deliver(posting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await self._finish(stop)

    async def _stopped_before(self, due_s: float, stop: asyncio.Event) -> bool:
        wait_s = due_s - self._clock.monotonic_s()
        if wait_s > 0 and not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
        return stop.is_set()

    async def _finish(self, stop: asyncio.Event) -> None:
        """Wait for all retries to be over, or for `stop`; then only for what is on its way."""
        stopped = asyncio.get_running_loop().create_task(stop.wait())
        while self._tasks and not stop.is_set():
            await asyncio.wait([*self._tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for _ in range(MOST_IN_FLIGHT):
            await self._free.acquire()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for poster in self._posters.values():
            poster.close()

    async def _deliver(self, posting: Posting) -> None:
        """One posting and its retries; its slot is held while a request is under way, not between."""
        self.tally.posted += 1
        accepted = await self._try(posting)
        if accepted:
            return
        for wait_s in RETRY_WAITS_S[posting.provider] if len(self._tasks) < MOST_WAITING else ():
            await asyncio.sleep(wait_s / self._hurry)
            await self._free.acquire()
            self.tally.retries += 1
            if await self._try(posting):
                return
        self.tally.lost += 1

    async def _try(self, posting: Posting) -> bool:
        """Whether the answer was what the provider takes for success. Gives the slot back."""
        try:
            code: int | None = await self._posters[posting.provider].post(posting.content_type, posting.body)
        except NoAnswerError:
            code = None
        finally:
            self._free.release()
        self.tally.answers[code] += 1
        return code == OK


def _poster(provider: str, url: str) -> Poster:
    try:
        return Poster(url)
    except ValueError as error:
        raise ValueError(f"the URL for {provider} cannot be used: {error}") from None
