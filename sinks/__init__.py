"""Outputs: what the core decided, written where people and systems read it."""
