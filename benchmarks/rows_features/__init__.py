"""Rows of the table of video features: each file here registers functions, see `registry`."""
