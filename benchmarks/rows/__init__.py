"""Rows of the benchmark table: each file here registers functions, see `registry`."""
