"""fMRIPrep's confounds of a run: what is regressed out, and which volumes count."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.confounds_strategies import ConfoundStrategy, is_mark, select_columns, strategy_of
from cinebold.bold.confounds_table import ConfoundsTable, read_confounds_table
from cinebold.bold.volumes import at_the_ends, not_in_steady_state, scrubbed
from cinebold.errors import InputError


class NoVolumesLeftError(InputError):
    """A strategy leaves out every volume of a run; `confounds` is what was found, without columns."""

    def __init__(self, message: str, confounds: "Confounds") -> None:
        super().__init__(message)
        self.confounds = confounds


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
    framewise_displacement_mm : (n_volumes,) float64, NaN in the first; None: the table has none
    """

    values: np.ndarray
    names: tuple[str, ...]
    keep: np.ndarray
    strategy: str
    source: str = ""
    dropped: dict[str, int] | None = None
    framewise_displacement_mm: np.ndarray | None = None

    @property
    def has_cosines(self) -> bool:
        """Whether fMRIPrep's own high-pass filter (128 s) is among the columns."""
        return any(name.startswith("cosine") for name in self.names)

    @property
    def mean_fd_mm(self) -> float | None:
        """The mean framewise displacement of the whole run; None: the table tells none."""
        return self._of_fd(np.mean)

    def motion(self) -> dict[str, Any]:
        """Motion for the report: mean and greatest framewise displacement, and the share of volumes left out.

        Besides `fd_mm`, the displacement of each volume (None: not known), and `left_out`, the numbers of volumes.
        """
        values = self.framewise_displacement_mm
        return {
            "fd_mm": None if values is None else [float(v) if np.isfinite(v) else None for v in values],
            "left_out": np.flatnonzero(~self.keep).tolist(),
            "fd_mean_mm": self.mean_fd_mm,
            "fd_max_mm": self._of_fd(np.max),
            "share_left_out": float(1 - self.keep.mean()),
        }

    def _of_fd(self, statistic: Any) -> float | None:
        values = self.framewise_displacement_mm
        known = np.empty(0) if values is None else values[np.isfinite(values)]
        return float(statistic(known)) if known.size else None


def load_confounds(
    tsv: str | Path,
    strategy: str | ConfoundStrategy = "simple",
    *,
    json: str | Path | None = None,
    dummy_scans: int | None = None,
    n_volumes: int | None = None,
    trim: tuple[int, int] = (0, 0),
    extra: str | Path | None = None,
) -> Confounds:
    """Select the columns and volumes of one confounds table.

    Parameters
    ----------
    tsv : desc-confounds_timeseries.tsv (or _regressors.tsv) of fMRIPrep 1.2 or later
    strategy : a strategy, or the line that describes one (`strategy_of`): "simple,global_signal"
    json : the table's sidecar, needed for CompCor before fMRIPrep 21; None: beside the table, when there is
        one
    dummy_scans : how many first volumes to leave out; None: those that fMRIPrep marked as not in steady state
    n_volumes : of the BOLD series, when it is known; another number of rows is an error
    trim : how many volumes to leave out at the start and at the end, whatever fMRIPrep marked
    extra : a further table, tab-separated with a header and a row a volume, all of whose columns are regressed out

    Notes
    -----
    `n/a` in the first row (derivatives, framewise displacement, DVARS have none) takes the value of the
    second row, as in nilearn; fMRIPrep itself takes the mean. Anywhere else in a volume that is kept it is an
    error.

    Raises
    ------
    InputError : no table, columns that a strategy needs and the table lacks, other gaps.
    NoVolumesLeftError : no volume left.
    SettingError : an empty strategy or an impossible number of dummy scans.
    """
    if isinstance(strategy, str):
        strategy = strategy_of(strategy)
    table = read_confounds_table(tsv, sidecar=json)
    if n_volumes is not None and table.n_rows != n_volumes:
        raise InputError(
            f"{table.path} has {table.n_rows} rows, but its BOLD series has {n_volumes} volumes; they must "
            "be of one run of fMRIPrep."
        )
    chosen = select_columns(table, strategy)
    masks = {
        "non_steady_state": not_in_steady_state(table, dummy_scans, chosen),
        "trimmed": at_the_ends(table.n_rows, trim),
    }
    if marked := [name for name in chosen if name.startswith("motion_outlier")]:
        masks["motion_outlier"] = np.any([table.column(name) > 0 for name in marked], axis=0)
    if strategy.thresholds:
        masks["scrubbed"] = scrubbed(table, strategy.thresholds, strategy.shortest_segment_volumes)
    keep = ~np.any(list(masks.values()), axis=0)
    displacement = "framewise_displacement"
    what_counts = Confounds(
        np.empty((len(keep), 0)),
        (),
        keep,
        strategy.name,
        str(table.path),
        {reason: int(mask.sum()) for reason, mask in masks.items() if mask.any()},
        table.column(displacement) if displacement in table.names else None,
    )
    if not keep.any():
        reasons = ", ".join(f"{reason} {count}" for reason, count in what_counts.dropped.items())
        raise NoVolumesLeftError(
            f"The confounds strategy {strategy.name!r} leaves out every volume of {table.path} "
            f"({reasons} of {table.n_rows}).",
            what_counts,
        )
    sources = [(table, name) for name in chosen if not is_mark(name)]
    if extra is not None:
        sources += _extra_columns(table, extra, {name for _, name in sources})
    if not sources:
        return what_counts
    values = np.column_stack([_complete(source, name, keep) for source, name in sources])
    return replace(what_counts, values=values, names=tuple(name for _, name in sources))


def _extra_columns(
    table: ConfoundsTable, extra: str | Path, chosen: set[str]
) -> list[tuple[ConfoundsTable, str]]:
    """The columns of a table of one's own, which must fit the run and fMRIPrep's columns."""
    own = read_confounds_table(extra, of_fmriprep=False)
    if own.n_rows != table.n_rows:
        raise InputError(
            f"The table of extra confounds {own.path} has {own.n_rows} rows, but the run has {table.n_rows} "
            "volumes; give it a header and a row a volume."
        )
    if twice := [name for name in own.names if name in chosen]:
        raise InputError(
            f"The column {twice[0]} of the extra confounds {own.path} is also taken from {table.path.name}; "
            "rename it or leave it out of one of them."
        )
    return [(own, name) for name in own.names]


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
