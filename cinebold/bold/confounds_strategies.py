"""Which columns of fMRIPrep's confounds a strategy takes: by name, by list, by pattern, or by all of these.

The named strategies are those of `nilearn.interfaces.fmriprep.load_confounds_strategy`, read from the table itself
instead of being guessed from the name of an image, and compared with nilearn on real tables in the tests.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cinebold.bold.confounds_table import ConfoundsTable
from cinebold.errors import InputError, SettingError

FD_THRESHOLD_MM = 0.5
STD_DVARS_THRESHOLD = 1.5
SHORTEST_SEGMENT_VOLUMES = 5

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
TISSUES = ("csf", "white_matter")
EXPANSIONS = ("", "_derivative1", "_power2", "_derivative1_power2")

#: Columns of these kinds say which volumes to leave out; they are never regressors.
MARKS = ("non_steady_state_outlier*", "motion_outlier*")


@dataclass(frozen=True)
class ConfoundStrategy:
    """What is regressed out of a run, and which volumes are left out for motion.

    Attributes
    ----------
    columns : names of `strategy_names()`, columns, or patterns such as `rot_*`; all of them together. A
        `motion_outlier*` leaves volumes out.
    name : what it is called in reports
    n_compcor : of each mask's CompCor components take this many, the first; None: all in the table
    fd_threshold_mm, std_dvars_threshold : volumes above either are left out; None: no such threshold, but where the
        strategy "scrubbing" is among the columns nilearn's
    shortest_segment_volumes : segments between left-out volumes that are shorter than this are left out too
    """

    columns: tuple[str, ...]
    name: str = "own"
    n_compcor: int | None = None
    fd_threshold_mm: float | None = None
    std_dvars_threshold: float | None = None
    shortest_segment_volumes: int = SHORTEST_SEGMENT_VOLUMES

    @property
    def thresholds(self) -> dict[str, float]:
        """Column -> the value above which a volume is left out; empty: none is, for motion."""
        scrubs = any(STRATEGIES[entry][1] for entry in self.columns if entry in STRATEGIES)
        found = {
            "framewise_displacement": self.fd_threshold_mm or (FD_THRESHOLD_MM if scrubs else None),
            "std_dvars": self.std_dvars_threshold or (STD_DVARS_THRESHOLD if scrubs else None),
        }
        return {column: value for column, value in found.items() if value is not None}


def strategy_names() -> tuple[str, ...]:
    """The strategies that have a name."""
    return tuple(STRATEGIES)


def strategy_of(text: str) -> ConfoundStrategy:
    """The strategy that one line describes: "simple", or names, columns and patterns with commas between.

    >>> strategy_of("motion6, csf").columns
    ('motion6', 'csf')
    """
    entries = tuple(entry.strip() for entry in text.split(","))
    if not all(entries):
        raise SettingError(
            f"The confounds must be a strategy ({', '.join(STRATEGIES)}) or column names with commas between "
            f"them, not {text!r}."
        )
    return ConfoundStrategy(entries, name=text)


def select_columns(table: ConfoundsTable, strategy: ConfoundStrategy) -> list[str]:
    """The columns that a strategy names, each once; marks of volumes are among them.

    CompCor components are made of data without slow drift: whoever names them gets fMRIPrep's cosines too.

    Raises
    ------
    InputError : a column that the strategy needs and the table lacks.
    """
    selected: list[str] = []
    for entry in strategy.columns:
        if entry in STRATEGIES:
            for part in STRATEGIES[entry][0]:
                selected += part.select(table, *part.parameters)
        else:
            selected += [name for name in table.names if fnmatchcase(name, entry)] or [entry]
    if any(is_compcor(name) for name in selected):
        selected += _high_pass(table)
    # A pattern of marks may match nothing: a run without outliers has no such column.
    needed = [name for name in (*selected, *strategy.thresholds) if not is_mark(name)]
    missing = [name for name in dict.fromkeys(needed) if name not in table.names]
    if missing:
        rest = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise InputError(
            f"{table.path} has no column {', '.join(missing[:6])}{rest}, which the confounds "
            f"{strategy.name!r} need; named strategies are {', '.join(STRATEGIES)}."
        )
    selected = [name for name in dict.fromkeys(selected) if name in table.names]
    return selected if strategy.n_compcor is None else _first_components(table, selected, strategy.n_compcor)


def is_mark(name: str) -> bool:
    """Whether a column, or a pattern of columns, marks volumes."""
    return any(fnmatchcase(name, mark) or name == mark for mark in MARKS)


def is_compcor(name: str) -> bool:
    """Whether a column is a component of CompCor: anatomical, temporal, or of the edge of the brain.

    >>> is_compcor("a_comp_cor_00"), is_compcor("edge_comp_00"), is_compcor("csf")
    (True, True, False)
    """
    return re.fullmatch(r"([actw]_comp_cor|edge_comp)_\d+", name) is not None


def _first_components(table: ConfoundsTable, names: list[str], n_components: int) -> list[str]:
    """The columns without the components of each mask that come after the first `n_components`."""
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for name in names:
        if is_compcor(name):
            # Before fMRIPrep 21 the masks share a prefix.
            description = table.sidecar.get(name)
            mask = (name[0], str(description.get("Mask", "")) if isinstance(description, dict) else "")
            counts[mask] = counts.get(mask, 0) + 1
            if counts[mask] > n_components:
                continue
        kept.append(name)
    return kept


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
    description = table.sidecar.get(name)
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
