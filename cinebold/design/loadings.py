"""Loadings of principal components on named features, as a table and as signed words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.errors import InputError, SettingError
from cinebold.files import write_text

#: What stands before the name, the number of the feature each.
_FIRST_COLUMNS = {"index": ("index",), "neurohackademy2021": ("", "id")}


def with_fixed_sign(components: np.ndarray) -> np.ndarray:
    """Components (k, p) whose entry of largest magnitude is positive; the first one where several are equal.

    The sign of a principal component is arbitrary; with the rule it is the same on every machine.

    >>> with_fixed_sign(np.array([[0.6, -0.8], [0.8, 0.6]])).tolist()
    [[-0.6, 0.8], [0.8, 0.6]]
    """
    components = np.asarray(components)
    if components.size == 0:
        return components.copy()
    strongest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return np.where(strongest < 0, -components, components)


def loadings_table(
    components: np.ndarray,
    names: Sequence[str],
    out_path: str | Path,
    *,
    fix_signs: bool = True,
    layout: str = "index",
) -> Path:
    """Write a table with one row a feature: index, name, pc_00, pc_01, ...

    Parameters
    ----------
    components : (n_components, n_features), as `sklearn.decomposition.PCA.components_`
    names : n_features feature names, in the order of the columns
    out_path : `.csv` is written with commas, everything else with tabs
    fix_signs : apply `with_fixed_sign`; numbers keep their full precision either way
    layout : "index", or "neurohackademy2021": the columns of that project's `kinetics_pc.csv`, which are a row number
        without a name, then id, name, pc_00, ...

    Raises
    ------
    InputError : the number of names is not the number of features
    SettingError : an unknown layout
    """
    import csv
    import io

    if layout not in _FIRST_COLUMNS:
        raise SettingError(
            f"Unknown layout of a loadings table {layout!r}: choose one of {', '.join(_FIRST_COLUMNS)}."
        )
    first = _FIRST_COLUMNS[layout]
    components = np.atleast_2d(np.asarray(components))
    if components.shape[1] != len(names):
        raise InputError(
            f"the loadings table {out_path} needs one name a feature, but there are {len(names)} names for "
            f"{components.shape[1]} features"
        )
    if fix_signs:
        components = with_fixed_sign(components)
    text = io.StringIO()
    writer = csv.writer(text, delimiter="," if str(out_path).endswith(".csv") else "\t", lineterminator="\n")
    writer.writerow([*first, "name", *(f"pc_{i:02d}" for i in range(len(components)))])
    for index, (name, row) in enumerate(zip(names, components.T, strict=True)):
        writer.writerow(
            [*[index] * len(first), name, *(str(value) for value in row)]
        )  # the shortest text that gives the same number
    return write_text(out_path, text.getvalue())
