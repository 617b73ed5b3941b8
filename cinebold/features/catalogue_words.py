"""The catalogue of extractors in words, for `cinebold-features list`."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from cinebold.features.catalogue import CatalogueEntry


def row_words(entry: CatalogueEntry) -> str:
    """One extractor in a few lines."""
    columns = (
        "columns of a file"
        if entry.n_features is None
        else f"{entry.n_features:,} column{'s'[: entry.n_features > 1]}"
    )
    lines = [f"{entry.name}: {columns}, {_window_words(entry.window)}"]
    if "" not in entry.layers and entry.layers:
        lines.append(
            f"  layers (numbers a window): {_layer_words(entry.layers)}; default {entry.default_layer}"
        )
    if entry.weights_file:
        lines.append(f"  weights: {entry.weights_file}")
    elif entry.needs_weights:
        lines.append(f"  weights: MISSING; {', '.join(entry.weights_names) or 'a checkpoint'}")
    if entry.problem:
        lines.append(f"  {entry.problem}")
    return "\n".join(lines)


def _layer_words(sizes: Mapping[str, int]) -> str:
    """Layers that follow each other, numbered and of one size, in one.

    >>> _layer_words({"last": 1000, "hidden.0": 200, "hidden.1": 200, "hidden.2": 300})
    'last 1,000, hidden.0 to hidden.1 200, hidden.2 300'
    """
    words = []
    for (_, size), group in groupby(sizes.items(), lambda pair: (pair[0].rstrip("0123456789"), pair[1])):
        names = [name for name, _ in group]
        words.append(f"{names[0]}{f' to {names[-1]}' if len(names) > 1 else ''} {size:,}")
    return ", ".join(words)


def _window_words(window: Mapping[str, Any]) -> str:
    hop = f"every {window.get('hop_s', 0):g} s"
    if not window:
        return "at the times of the file"
    if window.get("rule") == "bins":
        return f"means {hop}"
    return f"windows of {window.get('span_s', 0):.3g} s {hop}"
