"""Decisions: what a postback says, what became of its message, and what to do. No I/O, no clock, only `schemas`."""
