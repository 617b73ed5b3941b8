"""Scenes of a film, as features tell them: cuts, what is between them, and the classes that score highest there."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cinebold.features.series import FeatureSeries

_FEWEST_CLASSES = 20


def cut_times(series: FeatureSeries) -> np.ndarray:
    """The middles of the bins with a cut, of a series of low-level features; film time in seconds."""
    return series.times_s[series.values[:, series.names.index("cuts")] > 0]


def scenes_between(cuts_s: Sequence[float], duration_s: float, most: int) -> list[tuple[float, float]]:
    """Start and end of what is between cuts; of more than `most` the longest, in the order of film time.

    >>> scenes_between([2.0, 3.0], 10.0, most=2)
    [(0.0, 2.0), (3.0, 10.0)]
    """
    edges = [0.0, *(float(cut) for cut in cuts_s if 0 < cut < duration_s), float(duration_s)]
    scenes = list(pairwise(edges))
    longest = sorted(scenes, key=lambda scene: scene[0] - scene[1])[:most]
    return sorted(longest)


def top_classes(
    series: FeatureSeries, scenes: Sequence[tuple[float, float]], n: int = 3
) -> list[list[dict[str, Any]]]:
    """For each scene the `n` columns with the highest mean over its windows, the highest first: name and score.

    A scene between the reference times of two windows has the window nearest to its middle.
    """
    found = []
    for start_s, end_s in scenes:
        inside = (series.times_s >= start_s) & (series.times_s < end_s)
        if not inside.any():
            inside[np.abs(series.times_s - (start_s + end_s) / 2).argmin()] = True
        means = series.values[inside].mean(axis=0, dtype=np.float64)
        best = np.argsort(-means, kind="stable")[:n]
        found.append([{"name": series.names[column], "score": float(means[column])} for column in best])
    return found


def names_classes(names: Sequence[str]) -> bool:
    """Whether columns are classes: many of them, and called by words of which hardly two are alike but for a number.

    >>> names_classes(["tench", "goldfish"] * 10), names_classes([f"class{word}" for word in "abcdefghijklmnopqrst"])
    (False, True)
    >>> names_classes([f"unit {number}" for number in range(400)])
    False
    """
    stems = {re.sub(r"[\W\d_]+", "", name) for name in names} - {""}
    return len(names) >= _FEWEST_CLASSES and len(stems) > 0.9 * len(names)
