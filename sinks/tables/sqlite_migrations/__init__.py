"""Numbered SQL of the SQLite tables; a file that has run somewhere is never edited."""
