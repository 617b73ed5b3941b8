"""Estimators on the statistics of a training set."""
