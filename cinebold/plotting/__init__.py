"""Figures: arrays and paths in, one picture out. Nothing is downloaded, equal input gives equal bytes."""
