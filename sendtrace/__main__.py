"""`python -m sendtrace` is the command `sendtrace`."""

from __future__ import annotations

from sendtrace.cli import main

main()
