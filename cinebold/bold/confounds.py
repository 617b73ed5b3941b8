"""fMRIPrep's confounds: which columns a strategy takes, and which volumes it leaves out.

The strategies are those of `nilearn.interfaces.fmriprep.load_confounds_strategy`, read from the table itself
instead of being guessed from the name of an image, and compared with nilearn on real tables in the tests.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.confounds_table import ConfoundsTable, read_confounds_table
from cinebold.errors import InputError, SettingError

FD_THRESHOLD_MM = 0.5
STD_DVARS_THRESHOLD = 1.5
SHORTEST_SEGMENT_VOLUMES = 5

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
TISSUES = ("csf", "white_matter")
EXPANSIONS = ("", "_derivative1", "_power2", "_derivative1_power2")

#: Columns of these kinds say which volumes to leave out; they are never regressors.
MARKS = ("non_steady_state_outlier*", "motion_outlier*")


@dataclass(frozen=True, eq=False)
class Confounds:
    """What is regressed out of a run, and which of its volumes count.

    Attributes
    ----------
    values : (n_volumes, n_confounds) float64, finite, as they stand in the table (neither centred nor scaled)
    names : n_confounds column names
    keep : (n_volumes,) bool, False for volumes that neither train nor test anything
    strategy : as it was asked for
    source : the table's path
    dropped : for each reason, how many volumes it leaves out (a volume can have two)
    """

    values: np.ndarray
    names: tuple[str, ...]
    keep: np.ndarray
    strategy: str
    source: str = ""
    dropped: dict[str, int] | None = None

    @property
    def has_cosines(self) -> bool:
        """Whether fMRIPrep's own high-pass filter (128 s) is among the columns."""
        return any(name.startswith("cosine") for name in self.names)


def load_confounds(
    tsv: str | Path,
    strategy: str = "simple",
    *,
    json: str | Path | None = None,
    dummy_scans: int | None = None,
    n_volumes: int | None = None,
) -> Confounds:
    """Select the columns and volumes of one confounds table.

    Parameters
    ----------
    tsv : desc-confounds_timeseries.tsv (or _regressors.tsv) of fMRIPrep 1.2 or later
    strategy : a name of `strategy_names()`, column names, patterns such as `rot_*`, or several of them with
        commas: "simple,global_signal". A `motion_outlier*` in such a list leaves volumes out.
    json : the table's sidecar, needed for CompCor before fMRIPrep 21; None: beside the table, when there is
        one
    dummy_scans : how many first volumes to leave out; None: those that fMRIPrep marked as not in steady state
    n_volumes : of the BOLD series, when it is known; another number of rows is an error

    Notes
    -----
    `n/a` in the first row (derivatives, framewise displacement, DVARS have none) takes the value of the
    second row, as in nilearn; fMRIPrep itself takes the mean. Anywhere else in a volume that is kept it is an
    error.

    Raises
    ------
    InputError : no table, columns that a strategy needs and the table lacks, other gaps, no volume left.
    SettingError : an empty strategy or an impossible number of dummy scans.
    """
    table = read_confounds_table(tsv, sidecar=json)
    if n_volumes is not None and table.n_rows != n_volumes:
        raise InputError(
            f"{table.path} has {table.n_rows} rows, but its BOLD series has {n_volumes} volumes; they must "
            "be of one run of fMRIPrep."
        )
    chosen, scrub = _select(table, strategy)
    names = tuple(name for name in chosen if not _is_mark(name))
    masks = {"non_steady_state": _non_steady_state(table, dummy_scans)}
    marked = [name for name in chosen if _is_mark(name)]
    if marked:
        masks["motion_outlier"] = np.any([table.column(name) > 0 for name in marked], axis=0)
    if scrub:
        masks["scrubbed"] = _scrubbed(table)
    keep = ~np.any(list(masks.values()), axis=0)
    if not keep.any():
        raise InputError(f"The confounds strategy {strategy!r} leaves out every volume of {table.path}.")
    values = np.empty((table.n_rows, len(names)))
    for index, name in enumerate(names):
        values[:, index] = _complete(table, name, keep)
    dropped = {reason: int(mask.sum()) for reason, mask in masks.items() if mask.any()}
    return Confounds(values, names, keep, strategy, str(table.path), dropped)


def strategy_names() -> tuple[str, ...]:
    """The strategies that have a name."""
    return tuple(STRATEGIES)


def _motion(table: ConfoundsTable, n_parameters: int = 24) -> list[str]:
    return [name + expansion for expansion in EXPANSIONS[: n_parameters // 6] for name in MOTION]


def _tissue_signals(table: ConfoundsTable, expanded: bool = False) -> list[str]:
    return [name + expansion for expansion in (EXPANSIONS if expanded else ("",)) for name in TISSUES]


def _high_pass(table: ConfoundsTable) -> list[str]:
    # A run shorter than half the cut-off's period has none, and needs none.
    return [name for name in table.names if name.startswith("cosine")]


def _compcor(table: ConfoundsTable, masks: tuple[str, ...] = ("combined",)) -> list[str]:
    """Components of anatomical CompCor: all those that fMRIPrep kept (50 % of the variance, each mask).

    Until fMRIPrep 20.2 all are called a_comp_cor_* and only the sidecar tells the masks apart; since 21.0
    c_comp_cor_* is CSF, w_comp_cor_* is WM, and a_comp_cor_* the combined mask.
    """
    renamed = any(re.fullmatch(r"[cw]_comp_cor_\d+", name) for name in table.names)
    prefixes = {"combined": "a", "CSF": "c", "WM": "w"}
    selected = []
    for mask in masks:
        letter = prefixes[mask] if renamed else "a"
        candidates = [name for name in table.names if re.fullmatch(rf"{letter}_comp_cor_\d+", name)]
        if not renamed and candidates:
            metadata = {name: _component_mask(table, name) for name in candidates}
            candidates = [name for name in candidates if metadata[name] == mask]
        if not candidates:
            raise InputError(
                f"{table.path} has no anatomical CompCor components of the mask {mask!r}; choose another "
                "strategy for the confounds, or run fMRIPrep with CompCor."
            )
        selected += candidates
    return selected


def _component_mask(table: ConfoundsTable, name: str) -> str:
    description = table.sidecar().get(name)
    if not isinstance(description, dict) or "Mask" not in description:
        raise InputError(
            f"Which mask the CompCor component {name} of {table.path} comes from is told by its sidecar "
            f"{table.sidecar_path}, which is missing or has no such entry; put it back, or choose another "
            "strategy."
        )
    return description["Mask"]


def _aroma(table: ConfoundsTable) -> list[str]:
    names = [name for name in table.names if re.fullmatch(r"aroma_motion_\d+", name)]
    if not names:
        raise InputError(
            f"{table.path} has no aroma_motion_* columns; fMRIPrep writes them with --use-aroma, until "
            "version 23.0."
        )
    return names


@dataclass(frozen=True)
class _Component:
    select: Callable[..., list[str]]
    parameters: tuple[Any, ...] = ()


_HIGH_PASS = _Component(_high_pass)
_MOTION_24 = _Component(_motion)
_TISSUES = _Component(_tissue_signals)

#: Name -> (components, whether volumes with much motion are left out). As in nilearn, but "ica_aroma"
#: regresses the noise components out of desc-preproc_bold, since desc-smoothAROMAnonaggr_bold is not what we
#: read.
STRATEGIES: dict[str, tuple[tuple[_Component, ...], bool]] = {
    "none": ((), False),
    "high_pass": ((_HIGH_PASS,), False),
    "motion6": ((_HIGH_PASS, _Component(_motion, (6,))), False),
    "motion": ((_HIGH_PASS, _MOTION_24), False),
    "simple": ((_HIGH_PASS, _MOTION_24, _TISSUES), False),
    "scrubbing": ((_HIGH_PASS, _MOTION_24, _Component(_tissue_signals, (True,))), True),
    "compcor": ((_HIGH_PASS, _MOTION_24, _Component(_compcor)), False),
    "compcor_separated": ((_HIGH_PASS, _MOTION_24, _Component(_compcor, (("WM", "CSF"),))), False),
    "ica_aroma": ((_HIGH_PASS, _TISSUES, _Component(_aroma)), False),
}


def _select(table: ConfoundsTable, strategy: str) -> tuple[list[str], bool]:
    """The columns that a strategy names, each once, and whether it scrubs."""
    entries = [entry.strip() for entry in strategy.split(",")]
    if not all(entries):
        raise SettingError(
            f"The confounds must be a strategy ({', '.join(STRATEGIES)}) or column names with commas between "
            f"them, not {strategy!r}."
        )
    selected: list[str] = []
    missing: list[str] = []
    scrub = False
    for entry in entries:
        if entry in STRATEGIES:
            components, scrubs = STRATEGIES[entry]
            scrub |= scrubs
            wanted = [name for part in components for name in part.select(table, *part.parameters)]
            if scrubs:
                missing += [n for n in ("framewise_displacement", "std_dvars") if n not in table.names]
        else:
            wanted = [name for name in table.names if fnmatchcase(name, entry)] or [entry]
        missing += [name for name in wanted if name not in table.names]
        selected += wanted
    # A pattern of marks may match nothing: a run without outliers has no such column.
    missing = [name for name in missing if not _is_mark(name)]
    if missing:
        missing = list(dict.fromkeys(missing))
        rest = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise InputError(
            f"{table.path} has no column {', '.join(missing[:6])}{rest}, which the confounds "
            f"{strategy!r} need; named strategies are {', '.join(STRATEGIES)}."
        )
    return [name for name in dict.fromkeys(selected) if name in table.names], scrub


def _is_mark(name: str) -> bool:
    return any(fnmatchcase(name, mark) or name == mark for mark in MARKS)


def _non_steady_state(table: ConfoundsTable, dummy_scans: int | None) -> np.ndarray:
    if dummy_scans is not None:
        if not 0 <= dummy_scans < table.n_rows:
            raise SettingError(
                f"The number of dummy scans must be from 0 to below the {table.n_rows} volumes of the run, "
                f"not {dummy_scans}."
            )
        return np.arange(table.n_rows) < dummy_scans
    marks = [table.column(name) > 0 for name in table.names if fnmatchcase(name, MARKS[0])]
    return np.any(marks, axis=0) if marks else np.zeros(table.n_rows, bool)


def _scrubbed(table: ConfoundsTable) -> np.ndarray:
    """Volumes with much motion and the short segments between them (Power et al., 2012)."""
    outlier = (table.column("framewise_displacement") > FD_THRESHOLD_MM) | (
        table.column("std_dvars") > STD_DVARS_THRESHOLD
    )
    if not outlier.any():
        return outlier
    edges = np.flatnonzero(np.diff(np.concatenate([[True], outlier, [True]])))
    for start, end in edges.reshape(-1, 2):
        if end - start < SHORTEST_SEGMENT_VOLUMES:
            outlier[start:end] = True
    return outlier


def _complete(table: ConfoundsTable, name: str, keep: np.ndarray) -> np.ndarray:
    values = table.column(name).copy()
    if len(values) > 1 and not np.isfinite(values[0]):
        values[0] = values[1]
    gaps = np.flatnonzero(~np.isfinite(values))
    if keep[gaps].any():
        raise InputError(
            f"The column {name} of {table.path} has no value in row {gaps[keep[gaps]][0] + 1}; only the "
            "first row may be n/a."
        )
    values[gaps] = 0
    return values
