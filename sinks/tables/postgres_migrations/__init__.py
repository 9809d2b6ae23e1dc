"""The SQL that makes the Postgres tables, by number."""
