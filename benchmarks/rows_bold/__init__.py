"""Rows of the table of BOLD preparation: each file here registers functions, see `registry`."""
