"""Which rows are held out together, so that no film ever stands on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.encoding.rows import Rows
from cinebold.encoding.settings import CrossValidation, is_named
from cinebold.errors import InputError

N_BLOCKS = 5
#: Inner folds over films hold out this many groups of them.
_N_INNER_GROUPS = 5
#: Predictions of each fold of films are z-scored over its rows.
_LEAST_TEST_ROWS = 10
LEAVE_ONE_RUN_OUT = CrossValidation()


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
    inner_scheme: str  #: "leave-one-run-out", "blocks" or "films"
    n_excluded: int  #: rows left out of training because a held-out row shows their film
    predicts: np.ndarray  #: (n_rows,) bool: the rows whose prediction is this fold's, tested or not
    by_films: bool = False  #: films are held out of runs that are trained on as well


def outer_folds(
    rows: Rows, max_delay: int, cross_validation: CrossValidation = LEAVE_ONE_RUN_OUT
) -> list[TrainingSet]:
    """The folds of a cross-validation, each with inner folds over its training rows.

    Rows of training runs whose design touches a film that is held out are left out of training, or the fold
    is refused where the settings say so. Every row is predicted by one fold at most.

    Raises
    ------
    InputError : one run only, a fold without rows to train or to test on, names of runs that do not exist, films
        on both sides where that is refused
    """
    for run, label in enumerate(rows.labels):
        if not rows.used[rows.run == run].any():
            raise InputError(f"Run {label} has no usable volume that a film touches: leave the run out.")
    if cross_validation.scheme == "leave-one-stimulus-out":
        return _folds_of_films(rows, max_delay, cross_validation)
    return [
        _fold_of_runs(rows, group, max_delay, cross_validation)
        for group in _run_groups(rows, cross_validation)
    ]


def whole_set(
    rows: Rows, max_delay: int, cross_validation: CrossValidation = LEAVE_ONE_RUN_OUT
) -> TrainingSet:
    """All rows to train on, none to predict: the final model. A split trains it on the runs that it does not test."""
    train = rows.used
    if cross_validation.scheme == "split":
        train = _fold_of_runs(rows, _test_runs(rows, cross_validation), max_delay, cross_validation).train
    by_films = cross_validation.scheme == "leave-one-stimulus-out"
    inner, scheme = inner_folds(rows, train, max_delay, by_films)
    nothing = np.zeros(len(rows), dtype=bool)
    return TrainingSet("all", train, nothing, inner, scheme, 0, nothing, by_films)


def inner_folds(
    rows: Rows, available: np.ndarray, max_delay: int, by_films: bool = False
) -> tuple[tuple[Fold, ...], str]:
    """Folds inside a training set, by which alphas are chosen.

    Leave-one-run-out with the same rule for films where every fold has rows left to train on; with `by_films`
    groups of films, where there are two or more. Where neither can be (one training run only, or runs that
    all show the same film), each run is cut into five blocks of consecutive rows; a block is predicted from
    the run's other blocks, without the rows nearer to it than the longest delay, and from the other runs' rows
    that touch none of its films.
    """
    if by_films:
        groups = _film_groups(rows, available, _N_INNER_GROUPS)
        folds = [
            Fold(
                f"films {number}",
                available & ~rows.touching(films) & ~_near(rows, test, max_delay),
                test,
            )
            for number, films in enumerate(groups, 1)
            if (test := available & _only(rows, films)).any()
        ]
        if len(folds) > 1 and all(fold.train.any() for fold in folds):
            return tuple(folds), "films"
    runs = np.unique(rows.run[available])
    folds = []
    for run in runs:
        test = available & (rows.run == run)
        train = available & (rows.run != run) & ~rows.touching(rows.films_of(test))
        folds.append(Fold(rows.labels[run], train, test))
    if len(runs) > 1 and all(fold.train.any() for fold in folds):
        return tuple(folds), "leave-one-run-out"
    return tuple(block for run in runs for block in _blocks(rows, available, run, max_delay)), "blocks"


def _blocks(rows: Rows, available: np.ndarray, run: int, max_delay: int) -> list[Fold]:
    folds = []
    in_run = available & (rows.run == run)
    for number, block in enumerate(np.array_split(np.flatnonzero(in_run), N_BLOCKS)):
        if len(block) < 2:
            raise InputError(
                f"Run {rows.labels[run]} has only {in_run.sum()} usable volumes: too few to choose alpha within it."
            )
        test = np.zeros(len(rows), dtype=bool)
        test[block] = True
        first, last = rows.volume[block[0]] - max_delay, rows.volume[block[-1]] + max_delay
        near = in_run & (rows.volume >= first) & (rows.volume <= last)
        others = available & ~in_run & ~rows.touching(rows.films_of(test))
        train = (in_run & ~near) | others
        if not train.any():
            raise InputError(
                f"Run {rows.labels[run]} is too short ({in_run.sum()} usable volumes) to choose alpha within it "
                f"with delays of up to {max_delay} volumes."
            )
        folds.append(Fold(f"{rows.labels[run]}, block {number + 1}", train, test))
    return folds


def _run_groups(rows: Rows, cross_validation: CrossValidation) -> list[list[int]]:
    """The runs that are held out together, fold by fold."""
    n_runs = len(rows.labels)
    if n_runs < 2:
        raise InputError(
            f"No fold is possible with one run ({', '.join(rows.labels)}): held-out scores need at least two "
            "runs."
        )
    if cross_validation.scheme == "split":
        return [_test_runs(rows, cross_validation)]
    if cross_validation.scheme == "k-fold":
        # Runs far from each other in the session share a fold, so that each fold is like the whole session.
        n_folds = min(cross_validation.n_folds, n_runs)
        return [list(range(first, n_runs, n_folds)) for first in range(n_folds)]
    return [[run] for run in range(n_runs)]


def _test_runs(rows: Rows, cross_validation: CrossValidation) -> list[int]:
    """The runs that a split tests on, by their label, an entity of it, or its task."""
    chosen: set[int] = set()
    for name in cross_validation.test:
        named = [run for run, label in enumerate(rows.labels) if is_named(label, name)]
        if not named:
            raise InputError(
                f"The runs to test on name {name!r}, which is none of the runs {', '.join(rows.labels)} nor a "
                "task of theirs."
            )
        chosen |= set(named)
    if len(chosen) == len(rows.labels):
        raise InputError(
            f"The runs to test on ({', '.join(cross_validation.test)}) are all the runs: none is left to train "
            "on."
        )
    return sorted(chosen)


def _fold_of_runs(
    rows: Rows, group: Sequence[int], max_delay: int, cross_validation: CrossValidation
) -> TrainingSet:
    name = ", ".join(rows.labels[run] for run in group)
    held_out = np.isin(rows.run, group)
    candidates = rows.used & ~held_out
    films = rows.films_of(held_out)
    train = candidates & ~rows.touching(films)
    n_excluded = int(candidates.sum() - train.sum())
    if n_excluded and cross_validation.shared_films == "refuse":
        shown = rows.films_of(candidates) & films
        where = np.unique(rows.run[candidates & ~train])
        raise InputError(
            f"When {name} is held out, {n_excluded} volumes of {', '.join(rows.labels[run] for run in where)} show "
            f"a film that it shows too ({int(shown.sum())} in all): the same film may not stand on both sides of a "
            "fold; leave these volumes out of training (shared_films exclude) or test on other runs."
        )
    if not train.any():
        raise InputError(
            f"No row is left to train on when run {name} is held out: all the other runs show only films that it "
            "shows too, and the same film may not stand on both sides of a fold; add runs with other films."
        )
    inner, scheme = inner_folds(rows, train, max_delay)
    return TrainingSet(name, train, held_out & rows.used, inner, scheme, n_excluded, held_out)


def _folds_of_films(rows: Rows, max_delay: int, cross_validation: CrossValidation) -> list[TrainingSet]:
    """Films held out wherever they were shown; rows near them, and rows that touch others too, are in neither part."""
    groups = _film_groups(rows, rows.used, cross_validation.n_folds)
    if len(groups) < 2:
        raise InputError(
            "Leaving out one stimulus at a time needs at least two films, found "
            f"{len(set(rows.whole_films))}: leave out runs instead."
        )
    folds = []
    free = np.ones(len(rows), dtype=bool)
    for number, films in enumerate(groups, 1):
        test = rows.used & _only(rows, films)
        touching = rows.touching(films)
        train = rows.used & ~touching & ~_near(rows, test, max_delay)
        name = f"films {number} of {len(groups)}"
        if not train.any() or not test.any():
            raise InputError(
                f"No row is left to {'train' if test.any() else 'test'} on when {name} are held out: films follow "
                "each other within the longest delay; leave out runs instead, or fewer folds of films."
            )
        if test.sum() < _LEAST_TEST_ROWS:
            raise InputError(
                f"When {name} are held out {int(test.sum())} rows are left to test on: too few to score, ask for "
                "fewer folds."
            )
        # A row under the delays of two films goes to the one on the screen; each row to one fold.
        shown = rows.shows[:, films].any(axis=1)
        predicts = (shown | (touching & ~rows.shows.any(axis=1))) & free
        free &= ~predicts
        inner, scheme = inner_folds(rows, train, max_delay, by_films=True)
        excluded = int((rows.used & ~train & ~test).sum())
        folds.append(TrainingSet(name, train, test, inner, scheme, excluded, predicts | test, by_films=True))
    return folds


def _film_groups(rows: Rows, available: np.ndarray, n_groups: int) -> list[np.ndarray]:
    """Masks (n_films,) of the films that are held out together; pieces of one film stay together.

    Films in the order of their first showing are dealt out in turn, so that groups mix early and late ones.
    """
    touched = rows.films_of(available)
    names = [film for film in dict.fromkeys(rows.whole_films) if touched[_is(rows, film)].any()]
    n_groups = min(n_groups, len(names))
    return [
        np.isin(np.array(rows.whole_films, dtype=object), names[first::n_groups]) for first in range(n_groups)
    ]


def _is(rows: Rows, film: str) -> np.ndarray:
    return np.array([whole == film for whole in rows.whole_films])


def _only(rows: Rows, films: np.ndarray) -> np.ndarray:
    """(n_rows,) bool: the rows in whose design these films are and no others."""
    return rows.touches[:, films].any(axis=1) & ~rows.touches[:, ~films].any(axis=1)


def _near(rows: Rows, test: np.ndarray, max_delay: int) -> np.ndarray:
    """(n_rows,) bool: the rows of the same run within the longest delay of a tested row, where noise is shared."""
    near = test.copy()
    for step in range(1, max_delay + 1):
        near[step:] |= test[:-step] & (rows.run[step:] == rows.run[:-step])
        near[:-step] |= test[step:] & (rows.run[step:] == rows.run[:-step])
    return near
