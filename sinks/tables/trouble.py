"""What readers of the tables raise when the database does not answer, whichever it is."""

from __future__ import annotations


class TablesError(Exception):
    """Trouble with the tables' database: one line, fit to be shown, without a password. Trying again may help."""
