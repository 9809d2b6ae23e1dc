"""One piece read ahead by a thread: the database works on the next while this one is parsed, compressed and written."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_LOOK_EVERY_S: Final = 0.1


class _End:
    """Nothing more comes; `error` is why, unless it is simply the end."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Reader(Generic[T]):
    def __init__(self, pieces: Generator[T, None, None]) -> None:
        self._pieces = pieces
        self.ready: queue.Queue[T | _End] = queue.Queue(maxsize=1)
        self.is_left = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for piece in self._pieces:
                self._hand_on(piece)
                if self.is_left.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  raised again where the pieces are taken
            self._hand_on(_End(error))
        else:
            self._hand_on(_End(None))

    def _hand_on(self, piece: T | _End) -> None:
        while not self.is_left.is_set():
            try:
                return self.ready.put(piece, timeout=_LOOK_EVERY_S)
            except queue.Full:
                continue
        return None


def ahead(pieces: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same pieces; whatever `pieces` holds is used by one thread at a time, and by none when this is closed."""
    reader = _Reader(pieces)
    try:
        while not isinstance(piece := reader.ready.get(), _End):
            yield piece
        if piece.error is not None:
            raise piece.error
    finally:
        reader.is_left.set()
        reader.thread.join()
        pieces.close()
