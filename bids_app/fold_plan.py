"""Which runs or films each fold will hold out, from names alone: for `--dry-run`, and to refuse early."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from cinebold.encoding.settings import CrossValidation, is_named
from cinebold.errors import InputError
from workflows.specifications import Presentation, Run


@dataclass(frozen=True)
class PlannedFold:
    """What is held out together."""

    held_out: tuple[str, ...]  #: labels of runs, or names of films
    shared: tuple[str, ...] = ()  #: films of the held-out runs that other runs show too


def planned_folds(runs: Sequence[Run], cross_validation: CrossValidation) -> list[PlannedFold]:
    """The folds that `cinebold.encoding.folds.outer_folds` will make of these runs, where no row is lost.

    Films are told apart by their names here, by their bytes there.

    Raises
    ------
    InputError : a split names runs that are not there, or all of them; one film only where films are held out; films
        on both sides of a fold where that is refused
    """
    runs = sorted(runs, key=lambda run: run.label)
    if cross_validation.scheme == "leave-one-stimulus-out":
        films = list(dict.fromkeys(p.film_name for run in runs for p in run.presentations))
        if len(films) < 2:
            raise InputError(
                f"leaving out one film at a time needs two films or more, and there is only {', '.join(films)}"
            )
        n_folds = min(cross_validation.n_folds, len(films))
        return [PlannedFold(tuple(films[first::n_folds])) for first in range(n_folds)]
    folds = [_planned(runs, group) for group in _groups_of_runs(runs, cross_validation)]
    for fold in folds:
        if fold.shared and cross_validation.shared_films == "refuse":
            raise InputError(
                f"when {', '.join(fold.held_out)} is held out, other runs show {', '.join(fold.shared)} too, which "
                "--shared-films refuse forbids: test on other runs, or let the film be excluded from training"
            )
    return folds


def _groups_of_runs(runs: Sequence[Run], cross_validation: CrossValidation) -> list[list[Run]]:
    if cross_validation.scheme == "split":
        return [_tested(runs, cross_validation.test)]
    n_folds = len(runs)
    if cross_validation.scheme == "k-fold":
        n_folds = min(cross_validation.n_folds, n_folds)
    return [list(runs[first::n_folds]) for first in range(n_folds)]


def _tested(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    labels = ", ".join(run.label for run in runs)
    tested = []
    for name in names:
        named = [run for run in runs if is_named(run.label, name)]
        if not named:
            raise InputError(f"--test-runs names {name}, which is none of the runs {labels}")
        tested += named
    chosen = [run for run in runs if run in tested]
    if len(chosen) == len(runs):
        raise InputError(f"--test-runs names all the runs ({labels}): none is left to train on")
    return chosen


def _planned(runs: Sequence[Run], group: Sequence[Run]) -> PlannedFold:
    others = [p for run in runs if run not in group for p in run.presentations]
    own = [p for run in group for p in run.presentations]
    shared = dict.fromkeys(p.film_name for p in own if any(_overlap(p, other) for other in others))
    return PlannedFold(tuple(run.label for run in group), tuple(shared))


def _overlap(one: Presentation, other: Presentation) -> bool:
    """Whether two showings have a piece of one film in common."""
    (start, end), (other_start, other_end) = (
        (p.film_offset_s, inf if p.duration_s is None else p.film_offset_s + p.duration_s)
        for p in (one, other)
    )
    return one.film == other.film and min(end, other_end) > max(start, other_start)
