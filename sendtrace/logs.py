"""Log lines of every process in one shape: JSON where a machine reads, a plain line at a terminal.

Libraries log through the standard library, and so do we; this only decides what a line looks like.
Refuses to quote bodies, tokens and paths: what is logged is a sentence of ours.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, Processor

_SHARED: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logs(role: str) -> None:
    """Send this process's log to stderr; `role` says which process a line is from."""

    def with_role(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    at_terminal = sys.stderr.isatty()
    # Plain tracebacks: the pretty ones show local variables, and those hold bodies.
    console = structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
    last: Processor = console if at_terminal else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, with_role],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # What uvicorn says at every start and stop, we say once, in words of ours.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # Of a broker that is away the client writes a line a second for each of its sockets; we write one a try.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for name in ("faust", "mode"):  # what they start and stop is of no use to an operator; that it failed is
        logging.getLogger(name).setLevel(logging.ERROR)
