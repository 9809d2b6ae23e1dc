"""`sendtrace worker` of a version to come: its status records have a field that today's does not know.

Run it as the program: `python -m tests.faults.newer_worker worker …`. Its processes are this file too.
"""

from __future__ import annotations

import sys
from typing import Final, cast
from unittest.mock import patch

from processors.lifecycle import Message
from schemas.records import StatusRecord
from sendtrace import cli, worker_child, worker_process
from sendtrace.worker_reports import WorkerTask, command

FIELD: Final = "locale"

_finish: Final = Message.finish


def _with_field(self: Message) -> StatusRecord:
    return cast(StatusRecord, {**_finish(self), FIELD: "de"})


def _command(task: WorkerTask) -> list[str]:
    program, _, _, argument = command(task)
    return [program, "-m", "tests.faults.newer_worker", argument]


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        with patch.object(worker_child, "command", _command):
            cli.main()
    else:
        with patch.object(Message, "finish", _with_field):
            worker_process.main(*sys.argv[1:])
