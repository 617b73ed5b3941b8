"""Nipype graphs, and thin interfaces to `cinebold`: no BIDS queries, no mathematics."""
