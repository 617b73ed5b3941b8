"""Folds: no run and no film on both sides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.encoding.folds import outer_folds, whole_set
from cinebold.encoding.rows import stack_rows
from cinebold.errors import InputError


def test_rows_touch_the_films_at_their_delays_and_rest_is_out(a_design):
    rows = stack_rows([a_design("r", ["a", "a", None, None, None, "b"])], (0, 2))
    touched = [{rows.film_ids[film] for film in np.flatnonzero(row)} for row in rows.touches]
    assert touched == [{"a"}, {"a"}, {"a"}, {"a"}, set(), {"b"}]
    np.testing.assert_array_equal(rows.used, [True, True, True, True, False, True])
    assert stack_rows([a_design("r", ["a", None])], (0,), include_rest=True).used.all()
    np.testing.assert_array_equal(
        stack_rows([a_design("r", ["a", "a"], [False, True])], (0,)).used, [False, True]
    )


@settings(deadline=None, max_examples=50)
@given(
    runs=st.lists(
        st.lists(st.sampled_from(["own", "own", "clip", "other", None]), min_size=30, max_size=60),
        min_size=2,
        max_size=5,
    ),
    delays=st.sampled_from([(0,), (1, 3), (2, 5)]),
)
def test_no_film_of_a_test_row_is_in_any_training_row(a_design, runs, delays):
    films = [[f"own-{i}" if film == "own" else film for film in run] for i, run in enumerate(runs)]
    rows = stack_rows([a_design(f"run-{i}", run) for i, run in enumerate(films)], delays)
    try:
        sets = outer_folds(rows, max(delays))
    except InputError:
        return
    assert len(sets) == len(runs)
    for fold in sets:
        run = rows.labels.index(fold.name)
        assert not fold.train[rows.run == run].any() and not fold.test[rows.run != run].any()
        assert not (rows.touches[fold.train].any(axis=0) & rows.films_of(rows.run == run)).any()
        assert not (fold.train & ~rows.used).any()
        for inner in fold.inner:
            assert inner.test.any() and inner.train.any()
            assert not (inner.train & inner.test).any()
            assert not ((inner.train | inner.test) & ~fold.train).any()
            for row in np.flatnonzero(inner.test):
                other_runs = inner.train & (rows.run != rows.run[row])
                assert not (rows.touches[other_runs] & rows.touches[row]).any()
                same_run = np.flatnonzero(inner.train & (rows.run == rows.run[row]))
                if len(same_run):
                    assert np.abs(rows.volume[same_run] - rows.volume[row]).min() > max(delays)


def test_the_clip_that_ends_every_run_leaves_training(a_design):
    designs = [a_design(f"run-{i}", [f"film-{i}"] * 20 + [None] * 10 + ["clip"] * 5) for i in range(3)]
    rows = stack_rows(designs, (1, 2))
    sets = outer_folds(rows, 2)
    assert [fold.n_excluded for fold in sets] == [10, 10, 10]
    assert [int(fold.train.sum()) for fold in sets] == [44, 44, 44]
    assert [int(fold.test.sum()) for fold in sets] == [27, 27, 27]
    assert [fold.inner_scheme for fold in sets] == ["leave-one-run-out"] * 3
    final = whole_set(rows, 2)
    assert final.train.sum() == 81 and not final.test.any()


def test_two_runs_choose_alpha_in_blocks(a_design):
    sets = outer_folds(stack_rows([a_design(f"run-{i}", [f"f{i}"] * 50) for i in range(2)], (1, 3)), 3)
    assert [fold.inner_scheme for fold in sets] == ["blocks", "blocks"]
    middle = sets[0].inner[2]
    np.testing.assert_array_equal(np.flatnonzero(middle.test) - 50, np.arange(20, 30))
    np.testing.assert_array_equal(np.flatnonzero(middle.train) - 50, [*range(17), *range(33, 50)])


@pytest.mark.parametrize(
    ("films", "message"),
    [
        ([["a"] * 30], "No fold is possible with one run"),
        ([["a"] * 30, ["a"] * 30], "same film may not stand on both sides"),
        ([["a"] * 30, [None] * 30], "no usable volume"),
        ([["a"] * 30, ["b"] * 6], "too"),
    ],
)
def test_impossible_folds_are_refused(a_design, films, message):
    rows = stack_rows([a_design(f"run-{i}", run) for i, run in enumerate(films)], (1, 5))
    with pytest.raises(InputError, match=message):
        outer_folds(rows, 5)
