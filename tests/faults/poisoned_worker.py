"""`sendtrace worker` whose reader of postbacks has three faults: bodies that raise, that end it, and that never end.

Run it as the program: `python -m tests.faults.poisoned_worker worker …`. Its processes are this file too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final
from unittest.mock import patch

from processors.normalize import Normalizer
from schemas.event import Event, Rejected
from schemas.postback import Postback
from sendtrace import cli, worker_child, worker_process
from sendtrace.worker_reports import WorkerTask, command

RAISES: Final = b'{"dispatch_id": "raises-%d", "status": "sent"}'
ENDS: Final = b'{"dispatch_id": "ends-the-process", "status": "sent"}'
HANGS: Final = b'{"dispatch_id": "hangs", "status": "sent"}'
SILENCE_S: Final = 12.0  # a process needs some to begin to speak, on a machine that is busy

_read: Final[Callable[[Normalizer, Postback], Event | Rejected]] = Normalizer.__call__


def _fragile(self: Normalizer, postback: Postback) -> Event | Rejected:
    if postback.body.startswith(b'{"dispatch_id": "raises-'):
        raise RecursionError("as deep as it goes")
    if postback.body == ENDS:
        os.abort()
    while postback.body == HANGS:
        time.sleep(0.1)
    return _read(self, postback)


def _command(task: WorkerTask) -> list[str]:
    program, _, _, argument = command(task)
    return [program, "-m", "tests.faults.poisoned_worker", argument]


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        with patch.object(worker_child, "command", _command), patch.object(worker_child, "SILENCE_S", SILENCE_S):
            cli.main()
    else:
        with patch.object(Normalizer, "__call__", _fragile):
            worker_process.main(*sys.argv[1:])
