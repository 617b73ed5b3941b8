"""Runs that a rule leaves out: too much motion, or too few volumes. And runs that cannot be in one model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_app.recipe_tables import BoldTable
from cinebold.bold.confounds import Confounds, NoVolumesLeftError
from cinebold.errors import InputError
from workflows.confounds import confounds_of
from workflows.specifications import BoldPreparation, ExcludedRun, Run

_TR_TOLERANCE_S = 1e-4
#: Of the volumes of a run; where fewer are kept, it is said.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class CheckedRuns:
    """The runs of one participant after their confounds were read."""

    runs: tuple[Run, ...]  #: that are analysed
    excluded: tuple[ExcludedRun, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """Which runs are left out, and why."""
        return [f"{run.label} is left out, because {run.reason}." for run in self.excluded]


def check_runs(runs: Sequence[Run], preparation: BoldPreparation, bold: BoldTable) -> CheckedRuns:
    """Read the confounds of the runs, whose tables are small, and apply the rules, before anything is computed."""
    kept, excluded, problems, warnings = [], [], [], []
    for run in runs:
        try:
            confounds = _confounds(run, preparation, bold)
            reasons = _reasons(confounds, bold)
        except InputError as error:
            problems.append(f"{run.label}: {error}")
            continue
        if reasons:
            n_kept = int(confounds.keep.sum())
            excluded.append(ExcludedRun(run.label, " and ".join(reasons), confounds.mean_fd_mm, n_kept))
        else:
            kept.append(run)
            if confounds.keep.mean() < _LEAST_SHARE:
                warnings.append(
                    f"{run.label}: {np.sum(~confounds.keep)} of {len(confounds.keep)} volumes are left out; "
                    "--min-volumes leaves out such runs as wholes."
                )
    problems += [*_shared_tables(kept), *_disagreements(kept)]
    return CheckedRuns(tuple(kept), tuple(excluded), tuple(problems), tuple(warnings))


def _confounds(run: Run, preparation: BoldPreparation, bold: BoldTable) -> Confounds:
    """The run's confounds; where rules judge runs, one that has no volume left is theirs to judge."""
    try:
        return confounds_of(run, preparation)
    except NoVolumesLeftError as error:
        if bold.max_fd_mm is None and bold.min_volumes is None:
            raise
        return error.confounds


def _reasons(confounds: Confounds, bold: BoldTable) -> list[str]:
    """The rules that the run breaks, in words."""
    reasons = []
    if bold.max_fd_mm is not None:
        if confounds.mean_fd_mm is None:
            raise InputError(
                f"{confounds.source} has no framewise_displacement, by which --max-fd {bold.max_fd_mm:g} judges a run; "
                "leave the option out, or preprocess the run again."
            )
        if confounds.mean_fd_mm > bold.max_fd_mm:
            reasons.append(
                f"its mean framewise displacement is {confounds.mean_fd_mm:.3g} mm, above the {bold.max_fd_mm:g} mm of "
                "--max-fd"
            )
    n_kept = int(confounds.keep.sum())
    if n_kept < (bold.min_volumes or 1):
        rule = f"fewer than the {bold.min_volumes} of --min-volumes" if bold.min_volumes else "not one"
        reasons.append(f"{n_kept} of its {len(confounds.keep)} volumes are kept, {rule}")
    return reasons


def _shared_tables(runs: Sequence[Run]) -> list[str]:
    """Two runs with one table of further regressors: the pattern forgot something."""
    owner: dict[str, str] = {}
    for run in runs:
        table = run.extra_confounds
        if table is not None and owner.setdefault(table, run.label) != run.label:
            return [
                f"--extra-confounds gives {table} to {owner[table]} and to {run.label}; each run needs a table of its "
                "own, so put {run}, {task} or {ses} into the pattern."
            ]
    return []


def _disagreements(runs: Sequence[Run]) -> list[str]:
    """Runs of several repetition times are no one model: delays are whole volumes."""
    others = [run for run in runs if abs(run.tr_s - runs[0].tr_s) > _TR_TOLERANCE_S]
    if not others:
        return []
    return [
        f"the repetition times of the runs disagree: {runs[0].label} has {runs[0].tr_s:g} s and {others[0].label} "
        f"{others[0].tr_s:g} s; correct the sidecars, or analyse these runs apart (--task-id, --run-id)."
    ]
