"""Every scheme of cross-validation against explicit predictions, and the rule that no film is on both sides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds, whole_set
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from cinebold.encoding.training import train
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import InputError, SettingError

ALPHAS = (0.01, 0.1, 1.0, 10.0)
PLAIN = EncodingSettings(alphas=ALPHAS, n_permutations=0)
SCHEMES = {
    "k-fold": CrossValidation("k-fold", n_folds=2),
    "split": CrossValidation("split", test=("run-1", "run-3")),
    "leave-one-stimulus-out": CrossValidation("leave-one-stimulus-out", n_folds=4),
}


def two_films_a_run(designs):
    """The same runs, each showing two films of its own."""
    changed = []
    for design in designs:
        half = (np.arange(design.n_volumes) >= design.n_volumes // 2).astype(np.int64)
        films = (f"{design.label}-first", f"{design.label}-second")
        changed.append(replace(design, film_of_volume=half, film_ids=films))
    return changed


def explicit_scores(designs, responses, scheme, delays):
    """r, R2 and the tested rows from predictions that are formed, put together and correlated run by run."""
    rows = stack_rows(designs, delays)
    y = np.concatenate(responses).astype(np.float64)
    for run in range(len(designs)):
        used = rows.used & (rows.run == run)
        y[rows.run == run] -= y[used].mean(axis=0)
    prediction, tested = np.zeros_like(y), np.zeros(len(rows), dtype=bool)
    equal = np.zeros_like(y)  # each fold's predictions brought to one variance: for r
    for fold in outer_folds(rows, max(delays), scheme):
        prepared = prepare_training(fold, rows, designs, delays, replace(PLAIN, cross_validation=scheme))
        weights = train(prepared, np.where(fold.train[:, None], y, np.nan), ALPHAS).weights
        assert not (tested & fold.test).any()
        for run in np.unique(rows.run[fold.test]):
            own = fold.test & (rows.run == run)
            usable = rows.used & (rows.run == run)
            prediction[own] = (prepared.features[own] - prepared.features[usable].mean(axis=0)) @ weights
        tested |= fold.test
        own = prediction[fold.test]
        equal[fold.test] = (own - own.mean(axis=0)) / own.std(axis=0) if fold.by_films else own
    parts = [own for run in range(len(designs)) if (own := tested & (rows.run == run)).any()]
    r = held_out_r([sums_of_predictions(y[own], equal[own]) for own in parts])
    return r, held_out_rsquared([sums_of_predictions(y[own], prediction[own]) for own in parts]), tested


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_from_sums_equal_those_of_explicit_predictions(simulate_runs, name, dtype):
    designs, responses = simulate_runs((70, 80, 75, 65), n_targets=10, dtype=dtype, seed=5)
    designs = two_films_a_run(designs)
    result = fit_encoding_model(designs, responses, replace(PLAIN, cross_validation=SCHEMES[name]), (1, 2))
    r, rsquared, tested = explicit_scores(designs, responses, SCHEMES[name], (1, 2))
    np.testing.assert_allclose(result.maps["r"], r, atol=1e-6)
    np.testing.assert_allclose(result.maps["rsquared"], rsquared, atol=1e-6)
    assert result.diagnostics["n_rows_scored"] == tested.sum()
    assert result.maps["r"][:5].mean() > 0.5
    assert abs(result.maps["r"][5:].mean()) < 0.15


@settings(deadline=None, max_examples=60)
@given(
    runs=st.lists(
        st.lists(st.sampled_from(["a", "a", "b", "c", "d", None]), min_size=30, max_size=60),
        min_size=2,
        max_size=5,
    ),
    delays=st.sampled_from([(0,), (1, 3)]),
    scheme=st.sampled_from(
        [
            CrossValidation("k-fold", n_folds=2),
            CrossValidation("split", test=("run-0",)),
            CrossValidation("leave-one-stimulus-out", n_folds=3),
        ]
    ),
)
def test_no_film_is_ever_on_both_sides_and_no_row_is_predicted_twice(a_design, runs, delays, scheme):
    rows = stack_rows([a_design(f"run-{i}", films) for i, films in enumerate(runs)], delays)
    try:
        folds = outer_folds(rows, max(delays), scheme)
        final = whole_set(rows, max(delays), scheme)
    except InputError:
        return
    assert not final.test.any() and not (final.train & ~rows.used).any()
    assert (np.sum([fold.test for fold in folds], axis=0) <= 1).all()
    assert (np.sum([fold.predicts for fold in folds], axis=0) <= 1).all()
    for fold in folds:
        assert fold.test.any() and fold.train.any()
        assert not (fold.test & ~fold.predicts).any()
        assert not (fold.train & fold.test).any()
        for inner in (fold, *fold.inner):
            if fold.inner_scheme == "blocks" and inner is not fold:
                continue
            tested = rows.touches[inner.test].any(axis=0)
            assert not (rows.touches[inner.train].any(axis=0) & tested).any()
        if scheme.scheme == "leave-one-stimulus-out":
            for row in np.flatnonzero(fold.test):
                same_run = np.flatnonzero(fold.train & (rows.run == rows.run[row]))
                if len(same_run):
                    assert np.abs(rows.volume[same_run] - rows.volume[row]).min() > max(delays)


def test_k_fold_deals_the_runs_out_in_turn(a_design):
    rows = stack_rows([a_design(f"run-{i}", [f"f{i}"] * 30) for i in range(5)], (1,))
    folds = outer_folds(rows, 1, CrossValidation("k-fold", n_folds=2))
    assert [fold.name for fold in folds] == ["run-0, run-2, run-4", "run-1, run-3"]
    assert len(outer_folds(rows, 1, CrossValidation("k-fold", n_folds=9))) == 5


def test_a_split_goes_by_labels_or_tasks_and_its_final_model_never_sees_the_test_runs(a_design):
    labels = ["task-test_run-1", "task-train_run-1", "task-train_run-2"]
    rows = stack_rows([a_design(label, [label] * 30) for label in labels], (1,))
    for name in ("test", "task-test", "task-test_run-1"):
        scheme = CrossValidation("split", test=(name,))
        (fold,) = outer_folds(rows, 1, scheme)
        np.testing.assert_array_equal(fold.test, rows.run == 0)
        np.testing.assert_array_equal(whole_set(rows, 1, scheme).train, rows.run > 0)
    with pytest.raises(InputError, match="name 'rest', which is none of the runs"):
        outer_folds(rows, 1, CrossValidation("split", test=("rest",)))
    with pytest.raises(InputError, match="none is left to train"):
        outer_folds(rows, 1, CrossValidation("split", test=("test", "train")))


def test_a_film_on_both_sides_is_left_out_of_training_or_refused(a_design):
    designs = [a_design(f"run-{i}", [f"film-{i}"] * 30 + ["clip"] * 8) for i in range(3)]
    rows = stack_rows(designs, (1, 2))
    assert [fold.n_excluded for fold in outer_folds(rows, 2)] == [16, 16, 16]
    with pytest.raises(InputError, match=r"16 volumes of run-1, run-2 show a film that it shows too"):
        outer_folds(rows, 2, CrossValidation(shared_films="refuse"))
    apart = stack_rows([a_design(f"run-{i}", [f"film-{i}"] * 30) for i in range(3)], (1, 2))
    assert len(outer_folds(apart, 2, CrossValidation(shared_films="refuse"))) == 3


def test_a_run_of_one_film_cannot_leave_stimuli_out(a_design):
    rows = stack_rows([a_design(f"run-{i}", ["film"] * 30) for i in range(2)], (1,))
    with pytest.raises(InputError, match="at least two films, found 1"):
        outer_folds(rows, 1, CrossValidation("leave-one-stimulus-out"))


@pytest.mark.parametrize(
    "fields",
    [
        {"scheme": "shuffled"},
        {"n_folds": 1},
        {"shared_films": "ignore"},
        {"scheme": "split"},
        {"test": ("run-1",)},
    ],
)
def test_senseless_schemes_are_refused(fields):
    with pytest.raises(SettingError):
        CrossValidation(**fields)


@pytest.mark.parametrize("name", SCHEMES)
def test_poisoned_held_out_rows_change_no_trained_number(simulate_runs, name):
    designs, responses = simulate_runs((60, 70, 80, 60), seed=6)
    designs = two_films_a_run(designs)
    rows = stack_rows(designs, (1, 2))
    y = np.concatenate(responses)
    own = replace(PLAIN, cross_validation=SCHEMES[name])
    for fold in outer_folds(rows, 2, SCHEMES[name]):
        clean = train(prepare_training(fold, rows, designs, (1, 2), own), y, ALPHAS)
        shown = fold.predicts
        poisoned = [
            replace(
                design,
                features={"a": np.where(shown[rows.run == run][:, None], 1e6, design.features["a"])},
            )
            for run, design in enumerate(designs)
        ]
        dirty_y = np.where(fold.train[:, None], y, np.nan)
        prepared = prepare_training(fold, rows, poisoned, (1, 2), own)
        dirty = train(prepared, dirty_y, ALPHAS)
        np.testing.assert_array_equal(dirty.weights, clean.weights)
        np.testing.assert_array_equal(dirty.alpha_index, clean.alpha_index)
