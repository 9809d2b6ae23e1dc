"""A child process that is kept running: started again when it ends, with growing pauses, and stopped in bounded time.

Refuses to restart one that says it is no use: that is for a person to mend.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Final

from schemas.ports import Clock

#: With this exit code a child says that starting it again is of no use; it has said why.
EXIT_UNUSABLE: Final = 3
#: For children that make many objects and few cycles: the collector looks seldom.
GC_THRESHOLDS: Final = (50_000, 20, 50)

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_STEADY_S: Final = 30.0  # a process that lived this long starts the pauses over

_log = logging.getLogger(__name__)


class KeptRunning(ABC):
    """One child, as seen from the event loop that started it.

    A subclass knows how to start it and how to ask it to end. `stop_wait_s` is how long it may take
    to end when asked; then it is killed.
    """

    def __init__(self, name: str, *, clock: Clock, stop_wait_s: float) -> None:
        self.restarts = 0
        self.unusable = asyncio.Event()
        self._name = name
        self._clock = clock
        self._stop_wait_s = stop_wait_s
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._watcher: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> None:
        """Ask it to end; one that does not end in time is killed, losing nothing."""
        self._stopping = True
        self._ask_to_end()
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), self._stop_wait_s)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    @abstractmethod
    async def _spawn(self, *, careful: bool) -> asyncio.subprocess.Process:
        """Start the process; `careful` after one that ended by itself."""

    @abstractmethod
    def _ask_to_end(self) -> None:
        """Also called after it ended: gives back what `_spawn` took."""

    async def _keep_running(self) -> None:
        self._process = await self._spawn(careful=False)
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._process is not None and not self._is_stopping():
            since = self._clock.monotonic_s()
            code = await self._process.wait()
            self._ask_to_end()
            if self._is_stopping():
                return
            if code == EXIT_UNUSABLE:
                self.unusable.set()
                return
            lived_s = self._clock.monotonic_s() - since
            pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            _log.error("%s ended with %s after %.1f s; starting it again in %.1f s", self._name, code, lived_s, pause_s)
            await asyncio.sleep(pause_s)
            self.restarts += 1
            self._process = await self._spawn(careful=True)

    def _is_stopping(self) -> bool:
        return self._stopping
