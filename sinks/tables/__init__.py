"""Status tables for analysts and the read API: SQLite on one machine."""
