"""Failures and tallies in, incidents out: what is trouble, since when, how much, and when it is over. Pure."""
