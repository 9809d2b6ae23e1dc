"""Rows of the tables as Parquet files, by day and source: an export of a time range, and a sink that goes on."""
