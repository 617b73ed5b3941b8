"""Which volumes of a run count: not those before the steady state, at trimmed ends, or with much motion."""

import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from cinebold.bold.confounds_strategies import MARKS
from cinebold.bold.confounds_table import ConfoundsTable
from cinebold.errors import SettingError

_TRIM = re.compile(r"(\d+\.?\d*s|\d+):(\d+\.?\d*s|\d+)")
#: A volume that begins this shortly before the end of the trimmed time begins at it.
_TIME_TOLERANCE_S = 1e-6


def trimmed_volumes(trim: str, tr_s: float) -> tuple[int, int]:
    """How many volumes `START:END` cuts off at the start and at the end of a run.

    Either is a number of volumes, or a time with an `s`: at the start the volumes that begin before it, at the end
    those that end less than so long before the end of the run.

    Raises
    ------
    SettingError : the text is not of this form.

    >>> trimmed_volumes("2:11", 1.5), trimmed_volumes("3s:10s", 2.0)
    ((2, 11), (2, 5))
    """
    match = _TRIM.fullmatch(trim.replace(" ", ""))
    if match is None:
        raise SettingError(
            "a trim must be START:END, volumes (2:11) or seconds (4s:22s) to leave out at either end of a run, "
            f"not {trim!r}."
        )
    start, end = (
        math.ceil((float(side[:-1]) - _TIME_TOLERANCE_S) / tr_s) if side.endswith("s") else int(side)
        for side in match.groups()
    )
    return max(start, 0), max(end, 0)


def at_the_ends(n_volumes: int, trim: tuple[int, int]) -> np.ndarray:
    """(n_volumes,) bool, True for so many first and last volumes."""
    volume = np.arange(n_volumes)
    return (volume < trim[0]) | (volume >= n_volumes - trim[1])


def not_in_steady_state(
    table: ConfoundsTable, dummy_scans: int | None, chosen: Sequence[str] = ()
) -> np.ndarray:
    """(n_rows,) bool: the first `dummy_scans` volumes, or for None those that fMRIPrep marked.

    Marks among the `chosen` columns count in either case.
    """
    if dummy_scans is not None:
        if not 0 <= dummy_scans < table.n_rows:
            raise SettingError(
                f"The number of dummy scans must be from 0 to below the {table.n_rows} volumes of the run, "
                f"not {dummy_scans}."
            )
    first = np.arange(table.n_rows) < (dummy_scans or 0)
    names = table.names if dummy_scans is None else chosen
    marks = [table.column(name) > 0 for name in names if fnmatchcase(name, MARKS[0])]
    return np.any([first, *marks], axis=0)


def scrubbed(
    table: ConfoundsTable, thresholds: Mapping[str, float], shortest_segment_volumes: int
) -> np.ndarray:
    """(n_rows,) bool: volumes above a threshold, and the short segments between them (Power et al., 2012)."""
    outlier = np.any([table.column(column) > limit for column, limit in thresholds.items()], axis=0)
    if not outlier.any():
        return outlier
    edges = np.flatnonzero(np.diff(np.concatenate([[True], outlier, [True]])))
    for start, end in edges.reshape(-1, 2):
        if end - start < shortest_segment_volumes:
            outlier[start:end] = True
    return outlier
