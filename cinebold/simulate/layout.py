"""The runs of a real BIDS layout whose images are absent: events, confounds and sidecars, paired by name."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.errors import InputError
from cinebold.files import read_json
from cinebold.simulate.confounds import read_table
from cinebold.simulate.fmriprep_dataset import SPACE
from cinebold.simulate.noise import MOTION_AXES
from cinebold.simulate.signals import Showing

logger = logging.getLogger(__name__)

_NAME = re.compile(
    r"sub-(?P<sub>[^_]+)(_ses-(?P<ses>[^_]+))?_task-(?P<task>[^_]+)(_[^_]+-[^_]+)*_events\.tsv"
)


@dataclass(frozen=True)
class LayoutRun:
    """One run that exists as text: what was shown when, and what its series must look like."""

    participant: str
    session: str | None
    task: str
    stem: str  #: sub-..._run-1, without suffix
    folder: Path  #: relative to the dataset
    events: Path
    confounds: Path
    showings: tuple[Showing, ...]
    n_volumes: int
    tr_s: float
    sidecar: dict[str, Any]  #: of the preprocessed series

    @property
    def volume_times_s(self) -> np.ndarray:
        """When each volume was acquired; without StartTime the middle of the repetition, (n_volumes,)."""
        return np.arange(self.n_volumes) * self.tr_s + self.sidecar.get("StartTime", self.tr_s / 2)


def find_runs(
    raw_dir: Path,
    fmriprep_dir: Path,
    participants: Sequence[str] | None,
    sessions: Sequence[str] | None,
    tasks: Sequence[str] | None,
    runs_per_task: int | None,
) -> list[LayoutRun]:
    """All runs with events and confounds that fit the filters, by name; a run without confounds is left out, logged."""
    wanted = [
        None if labels is None else {_bare(label) for label in labels}
        for labels in (participants, sessions, tasks)
    ]
    runs: list[LayoutRun] = []
    taken: dict[tuple[str | None, ...], int] = {}
    events_files = [*raw_dir.glob("sub-*/func/*_events.tsv"), *raw_dir.glob("sub-*/ses-*/func/*_events.tsv")]
    for events in sorted(events_files):
        match = _NAME.fullmatch(events.name)
        if match is None:
            continue
        key = (match["sub"], match["ses"], match["task"])
        if any(labels is not None and label not in labels for labels, label in zip(wanted, key, strict=True)):
            continue
        folder, stem = events.parent.relative_to(raw_dir), events.name.removesuffix("_events.tsv")
        confounds = fmriprep_dir / folder / f"{stem}_desc-confounds_timeseries.tsv"
        if not confounds.is_file():
            logger.warning("%s has no confounds table (%s) and is left out", stem, confounds)
            continue
        taken[key] = taken.get(key, 0) + 1
        if runs_per_task is None or taken[key] <= runs_per_task:
            runs.append(_read_run(*key, stem, folder, events, confounds, fmriprep_dir, raw_dir))
    missing = set() if wanted[0] is None else wanted[0] - {run.participant for run in runs}
    if missing or not runs:
        who = f"participants {', '.join(sorted(missing))}" if missing else "the filters"
        raise InputError(
            f"Expected runs with events in {raw_dir} and confounds in {fmriprep_dir} for {who}, and there are none; "
            "check the labels and both folders."
        )
    return runs


def read_showings(events: Path) -> tuple[Showing, ...]:
    """The films that an events table shows; rows without a film (`n/a`) are other events."""
    lines = [line.split("\t") for line in events.read_text(encoding="utf-8").splitlines() if line.strip()]
    header = lines[0] if lines else []
    absent = {"onset", "duration", "stim_file"} - set(header)
    if absent:
        raise InputError(f"Expected the column {', '.join(sorted(absent))} in {events}, and it is not there.")
    onset, duration, stim_file = (header.index(name) for name in ("onset", "duration", "stim_file"))
    return tuple(
        Showing(row[stim_file], float(row[onset]), float(row[duration]))
        for row in lines[1:]
        if row[stim_file] != "n/a"
    )


def _read_run(
    participant: str,
    session: str | None,
    task: str,
    stem: str,
    folder: Path,
    events: Path,
    confounds: Path,
    fmriprep_dir: Path,
    raw_dir: Path,
) -> LayoutRun:
    needed = (*MOTION_AXES, "csf", "white_matter")
    table = read_table(confounds, needed)
    if absent := [name for name in needed if name not in table]:
        raise InputError(f"Expected the columns {', '.join(absent)} in {confounds}, and they are not there.")
    sidecar: dict[str, Any] = {}
    for path in (
        raw_dir / f"task-{task}_bold.json",
        raw_dir / folder / f"{stem}_bold.json",
        fmriprep_dir / folder / f"{stem}_space-{SPACE}_desc-preproc_bold.json",
    ):
        facts = read_json(path) if path.is_file() else {}
        sidecar = {"TaskName": task, **{k: facts[k] for k in ("RepetitionTime",) if k in facts}, **sidecar}
        if path.parent.is_relative_to(fmriprep_dir):
            sidecar |= facts
    if "RepetitionTime" not in sidecar:
        raise InputError(
            f"Expected RepetitionTime in a sidecar of {stem} in {raw_dir} or {fmriprep_dir}, and there is none."
        )
    return LayoutRun(
        participant,
        session,
        task,
        stem,
        folder,
        events,
        confounds,
        read_showings(events),
        len(table["trans_x"]),
        float(sidecar["RepetitionTime"]),
        sidecar,
    )


def _bare(label: str) -> str:
    """A label without its entity.

    >>> _bare("sub-01"), _bare("01")
    ('01', '01')
    """
    return re.sub(r"^(sub|ses|task)-", "", label)
