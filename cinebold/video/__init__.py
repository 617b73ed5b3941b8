"""Films: decoding, time base, sampling windows."""
