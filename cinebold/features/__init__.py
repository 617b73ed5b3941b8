"""Feature extractors, and feature series in memory and on disk."""
