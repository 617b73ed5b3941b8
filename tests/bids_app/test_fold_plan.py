"""The folds that a dry run announces are those that the fit makes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bids_app.fold_plan import planned_folds
from cinebold.encoding import folds as made
from cinebold.encoding.settings import CrossValidation
from cinebold.errors import InputError
from workflows.specifications import Presentation, Run


def run(label, *films):
    return Run(
        label=label, entities={}, bold="", brain_mask="", confounds="", tr_s=2.0, n_volumes=100, shape=(1, 1, 1),
        presentations=tuple(Presentation(f"/{film}", film, 10.0 * i) for i, film in enumerate(films)),
    )  # fmt: skip


RUNS = [
    run("task-test_run-1", "e.mp4", "s.mp4"),
    *(run(f"task-train_run-{k}", f"{k}.mp4", "s.mp4") for k in (1, 2, 10, 3)),
]


@pytest.mark.parametrize(
    "cross_validation",
    [
        CrossValidation(),
        CrossValidation("k-fold", n_folds=2),
        CrossValidation("k-fold", n_folds=9),
        CrossValidation("split", test=("task-test",)),
        CrossValidation("split", test=("task-train_run-10", "run-3")),
    ],
    ids=lambda value: value.scheme,
)
def test_runs_are_grouped_as_the_fit_groups_them(cross_validation):
    labels = tuple(sorted(run.label for run in RUNS))  # the fit sorts runs by their labels
    expected = [
        tuple(labels[index] for index in group)
        for group in made._run_groups(SimpleNamespace(labels=labels), cross_validation)
    ]
    assert [fold.held_out for fold in planned_folds(RUNS, cross_validation)] == expected


def test_films_on_both_sides_are_named():
    planned = planned_folds(RUNS, CrossValidation("split", test=("task-test",)))
    assert [fold.shared for fold in planned] == [("s.mp4",)]


def test_pieces_of_one_film_are_not_the_same_content():
    first, second = (
        replace(
            run(f"run-{k}", "long.mp4"),
            presentations=(Presentation("/long.mp4", "long.mp4", 0.0, 60.0, offset),),
        )
        for k, offset in ((1, 0.0), (2, 60.0))
    )
    assert [fold.shared for fold in planned_folds([first, second], CrossValidation())] == [(), ()]
    again = replace(second, label="run-3")
    assert [fold.shared for fold in planned_folds([first, second, again], CrossValidation())] == [
        (),
        ("long.mp4",),
        ("long.mp4",),
    ]


def test_films_are_dealt_out_over_the_folds():
    planned = planned_folds(RUNS, CrossValidation("leave-one-stimulus-out", n_folds=3))
    assert [fold.held_out for fold in planned] == [
        ("e.mp4", "10.mp4"),
        ("s.mp4", "2.mp4"),
        ("1.mp4", "3.mp4"),
    ]


@pytest.mark.parametrize(
    ("runs", "cross_validation", "sentence"),
    [
        (RUNS, CrossValidation("split", test=("task-rest",)), "task-rest, which is none of the runs"),
        (RUNS, CrossValidation("split", test=("task-test", "task-train")), "names all the runs"),
        ([run("run-1", "a"), run("run-2", "a")], CrossValidation("leave-one-stimulus-out"), "only a"),
        (RUNS, CrossValidation(shared_films="refuse"), "other runs show s.mp4 too"),
    ],
)
def test_what_cannot_be_done_is_told_early(runs, cross_validation, sentence):
    with pytest.raises(InputError, match=sentence):
        planned_folds(runs, cross_validation)
