"""Folds over runs, in which the same film never stands on both sides."""

from dataclasses import dataclass

import numpy as np

from cinebold.encoding.rows import Rows
from cinebold.errors import InputError

N_BLOCKS = 5


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to predict."""

    name: str
    train: np.ndarray  #: (n_rows,) bool
    test: np.ndarray  #: (n_rows,) bool


@dataclass(frozen=True)
class TrainingSet(Fold):
    """An outer fold with the inner folds that choose its alphas; `test` is empty for the final model."""

    inner: tuple[Fold, ...]
    inner_scheme: str  #: "leave-one-run-out" or "blocks"
    n_excluded: int  #: rows of other runs left out because the held-out run shows their film


def leave_one_run_out(rows: Rows, max_delay: int) -> list[TrainingSet]:
    """One fold a run, each with inner folds over its training runs.

    Rows of other runs whose design touches a film that the held-out run shows are left out of training.
    """
    if len(rows.labels) < 2:
        raise InputError(
            f"No fold is possible with one run ({', '.join(rows.labels)}): held-out scores need at least "
            "two runs."
        )
    for run, label in enumerate(rows.labels):
        if not rows.used[rows.run == run].any():
            raise InputError(f"Run {label} has no usable volume that a film touches: leave the run out.")
    sets = []
    for run, label in enumerate(rows.labels):
        in_run = rows.run == run
        test = in_run & rows.used
        candidates = rows.used & ~in_run
        train = candidates & ~rows.touching(rows.films_of(in_run))
        if not train.any():
            raise InputError(
                f"No row is left to train on when run {label} is held out: all the other runs show only "
                "films that it "
                "shows too, and the same film may not stand on both sides of a fold; add runs with other "
                "films."
            )
        inner, scheme = inner_folds(rows, train, max_delay)
        sets.append(TrainingSet(label, train, test, inner, scheme, int(candidates.sum() - train.sum())))
    return sets


def whole_set(rows: Rows, max_delay: int) -> TrainingSet:
    """All rows to train on, none to predict: the final model."""
    inner, scheme = inner_folds(rows, rows.used, max_delay)
    return TrainingSet("all", rows.used, np.zeros(len(rows), dtype=bool), inner, scheme, 0)


def inner_folds(rows: Rows, available: np.ndarray, max_delay: int) -> tuple[tuple[Fold, ...], str]:
    """Folds inside a training set, by which alphas are chosen.

    Leave-one-run-out with the same rule for films where every fold has rows left to train on. Where not (one
    training run only, or runs that all show the same film), each run is cut into five blocks of consecutive
    rows; a block is predicted from the run's other blocks, without the rows nearer to it than the longest
    delay, and from the other runs' rows that touch none of its films.
    """
    runs = np.unique(rows.run[available])
    folds = []
    for run in runs:
        test = available & (rows.run == run)
        train = available & (rows.run != run) & ~rows.touching(rows.films_of(test))
        folds.append(Fold(rows.labels[run], train, test))
    if len(runs) > 1 and all(fold.train.any() for fold in folds):
        return tuple(folds), "leave-one-run-out"

    folds = []
    for run in runs:
        in_run = available & (rows.run == run)
        for number, block in enumerate(np.array_split(np.flatnonzero(in_run), N_BLOCKS)):
            if len(block) < 2:
                raise InputError(
                    f"Run {rows.labels[run]} has only {in_run.sum()} usable volumes: too few to choose "
                    "alpha within it."
                )
            test = np.zeros(len(rows), dtype=bool)
            test[block] = True
            first, last = rows.volume[block[0]] - max_delay, rows.volume[block[-1]] + max_delay
            near = in_run & (rows.volume >= first) & (rows.volume <= last)
            others = available & ~in_run & ~rows.touching(rows.films_of(test))
            train = (in_run & ~near) | others
            if not train.any():
                raise InputError(
                    f"Run {rows.labels[run]} is too short ({in_run.sum()} usable volumes) to choose alpha "
                    "within it "
                    f"with delays of up to {max_delay} volumes."
                )
            folds.append(Fold(f"{rows.labels[run]}, block {number + 1}", train, test))
    return tuple(folds), "blocks"
