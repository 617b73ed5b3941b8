"""Responses of clips against nilearn's general linear model, and against planted ones."""

import numpy as np
import pandas as pd
import pytest

from cinebold.bold.cleaning import cosine_drift
from cinebold.bold.clip_responses import (
    METHODS,
    ClipModel,
    clip_regressors,
    clip_responses,
    other_events_regressor,
)
from cinebold.bold.clip_standardisation import average_repeats, standardise_sessions
from cinebold.errors import InputError, SettingError

TR_S, N_VOLUMES, N_VOXELS = 1.75, 238, 7
ONSETS_S = 4.013 + 4.0 * np.arange(90)
DURATIONS_S = np.full(90, 3.0)
TIMES_S = TR_S * np.arange(N_VOLUMES)


@pytest.fixture(scope="module")
def run():
    """A run of clips every four seconds with drift, motion and noise; the planted response of each clip."""
    rng = np.random.default_rng(0)
    planted = rng.normal(1.0, 1.0, (len(ONSETS_S), N_VOXELS))
    regressors = clip_regressors(ONSETS_S, DURATIONS_S, TIMES_S, ClipModel("lsa"))
    nuisance = np.hstack([cosine_drift(N_VOLUMES, TR_S, 0.01), rng.normal(size=(N_VOLUMES, 3))])
    signal = regressors @ planted + nuisance @ rng.normal(size=(nuisance.shape[1], N_VOXELS)) + 1000.0
    return planted, nuisance, signal, rng.normal(size=signal.shape)


def by_nilearn(series, columns, nuisance, keep):
    from nilearn.glm.first_level import run_glm

    design = np.hstack([columns, nuisance, np.ones((N_VOLUMES, 1))])[keep]
    labels, results = run_glm(series[keep], design, noise_model="ols")
    assert len(np.unique(labels)) == 1
    return results[labels[0]].theta


@pytest.mark.parametrize("left_out", [0, 12])
@pytest.mark.parametrize("method", ["lsa", "lss"])
def test_responses_are_those_of_nilearns_model(run, method, left_out):
    _, nuisance, signal, noise = run
    series = signal + noise
    keep = np.ones(N_VOLUMES, bool)
    keep[20 : 20 + left_out] = False
    shown = slice(0, 12) if method == "lss" else slice(None)
    model = ClipModel(method, hrf="spm")
    regressors = clip_regressors(ONSETS_S, DURATIONS_S, TIMES_S, model)[:, shown]
    ours = clip_responses(series, regressors, nuisance, keep, model, ONSETS_S[shown])
    if method == "lsa":
        theirs = by_nilearn(series, regressors, nuisance, keep)[: regressors.shape[1]]
    else:
        models = [
            np.stack([regressors[:, clip], np.delete(regressors, clip, axis=1).sum(axis=1)], axis=1)
            for clip in range(regressors.shape[1])
        ]
        theirs = np.stack([by_nilearn(series, pair, nuisance, keep)[0] for pair in models])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_regressor_is_a_column_of_nilearns_design(run):
    from nilearn.glm.first_level import make_first_level_design_matrix

    events = pd.DataFrame({"onset": ONSETS_S[:3], "duration": DURATIONS_S[:3], "trial_type": ["a", "b", "c"]})
    for hrf in ("glover", "spm"):
        table = make_first_level_design_matrix(TIMES_S, events, hrf_model=hrf, drift_model=None)
        ours = clip_regressors(ONSETS_S[:3], DURATIONS_S[:3], TIMES_S, ClipModel("lss", hrf=hrf))
        np.testing.assert_allclose(ours, table[["a", "b", "c"]], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planted_responses_come_back_exactly_where_nothing_else_varies(run, dtype):
    planted, nuisance, signal, _ = run
    model = ClipModel("lsa")
    regressors = clip_regressors(ONSETS_S, DURATIONS_S, TIMES_S, model)
    keep = np.ones(N_VOLUMES, bool)
    found = clip_responses(signal.astype(dtype), regressors, nuisance, keep, model, ONSETS_S)
    np.testing.assert_allclose(found, planted, atol=2e-2 if dtype == np.float32 else 1e-5)


def test_every_method_finds_the_planted_responses_in_noise(run):
    planted, nuisance, signal, noise = run
    keep = np.ones(N_VOLUMES, bool)
    found = {}
    for method in METHODS:
        model = ClipModel(method)
        regressors = clip_regressors(ONSETS_S, DURATIONS_S, TIMES_S, model)
        responses = clip_responses(signal + 0.3 * noise, regressors, nuisance, keep, model, ONSETS_S)
        found[method] = np.corrcoef(responses.ravel(), planted.ravel())[0, 1]
    assert found["ridge-lsa"] > 0.8
    # Clips of four seconds overlap: what reads one at a time finds less of it, and finds it.
    assert min(found.values()) > 0.4


def test_shrinking_a_little_is_least_squares_and_a_lot_is_a_projection(run):
    _, nuisance, signal, noise = run
    keep = np.ones(N_VOLUMES, bool)
    regressors = clip_regressors(ONSETS_S, DURATIONS_S, TIMES_S, ClipModel("lsa"))
    arguments = (signal + noise, regressors, nuisance, keep)
    exact = clip_responses(*arguments, ClipModel("lsa"), ONSETS_S)
    little = clip_responses(*arguments, ClipModel("ridge-lsa", ridge=1e-9), ONSETS_S)
    np.testing.assert_allclose(little, exact, atol=1e-4)
    from sklearn.linear_model import Ridge

    basis, _ = np.linalg.qr(np.hstack([np.ones((N_VOLUMES, 1)), nuisance]))
    left = regressors - basis @ (basis.T @ regressors)
    penalty = 0.1 * np.mean((left**2).sum(axis=0))
    theirs = Ridge(penalty, fit_intercept=False).fit(left, arguments[0] - arguments[0].mean(axis=0)).coef_.T
    ours = clip_responses(*arguments, ClipModel("ridge-lsa", ridge=0.1), ONSETS_S)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_window_is_a_mean_of_its_volumes(run):
    _, _, signal, _ = run
    model = ClipModel("fir", window_s=(4.0, 8.0))
    regressors = clip_regressors(ONSETS_S[:1], DURATIONS_S[:1], TIMES_S, model)
    keep = np.ones(N_VOLUMES, bool)
    found = clip_responses(signal, regressors, np.empty((N_VOLUMES, 0)), keep, model, ONSETS_S[:1])
    inside = (TIMES_S - ONSETS_S[0] >= 4) & (TIMES_S - ONSETS_S[0] < 8)
    np.testing.assert_allclose(found[0], signal[inside].mean(axis=0) - signal.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"onsets": [500.0]}, "outside the run"),
        ({"onsets": [500.0], "method": "fir"}, "no volume lies in the window"),
        ({"onsets": [20.0, 20.0], "method": "lsa"}, "cannot be told from each other"),
        ({"onsets": [20.0], "left_out": slice(10, 40)}, "nothing of its response is left"),
    ],
)
def test_what_gives_no_response_is_refused_in_a_sentence(change, sentence):
    onsets_s = change["onsets"]
    model = ClipModel(change.get("method", "lss"))
    keep = np.ones(N_VOLUMES, bool)
    keep[change.get("left_out", slice(0))] = False
    with pytest.raises(InputError, match=sentence):
        regressors = clip_regressors(onsets_s, [3.0] * len(onsets_s), TIMES_S, model)
        clip_responses(np.zeros((N_VOLUMES, 1)), regressors, np.empty((N_VOLUMES, 0)), keep, model, onsets_s)


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"method": "glm"}, {"hrf": "fir"}, {"ridge": 0.0}, {"window_s": (8.0, 4.0)}):
        with pytest.raises(SettingError):
            ClipModel(**wrong)


def test_test_runs_change_no_number_of_the_training_runs():
    rng = np.random.default_rng(1)
    runs = [rng.normal(5, 3, (20, N_VOXELS)) for _ in range(4)]
    sessions, training = ["1", "1", "2", "2"], [True, False, True, False]
    before = standardise_sessions(runs, sessions, training)
    poisoned = [
        run if known else np.full_like(run, np.nan) for run, known in zip(runs, training, strict=True)
    ]
    after = standardise_sessions(poisoned, sessions, training)
    for run in (0, 2):
        np.testing.assert_array_equal(after[run], before[run])
        np.testing.assert_allclose(before[run].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(before[run].std(axis=0, ddof=1), 1, rtol=1e-5)
    expected = (runs[1] - runs[0].mean(axis=0)) / runs[0].std(axis=0, ddof=1)
    np.testing.assert_allclose(before[1], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="Session 2"):
        standardise_sessions(runs, sessions, [True, True, False, False])


def test_repeats_are_averaged_wherever_they_were_shown():
    responses = [np.array([[1.0], [2.0]]), np.array([[4.0], [3.0], [8.0]])]
    averaged = average_repeats(responses, [["a", "b"], ["b", "a", "c"]])
    assert averaged.films == ("a", "b", "c")
    np.testing.assert_array_equal(averaged.responses[:, 0], [2, 3, 8])
    np.testing.assert_array_equal(averaged.n_repeats, [2, 2, 1])
    assert averaged.first == ((0, 0), (0, 1), (1, 2))


def test_other_events_are_one_regressor_and_those_outside_the_run_are_nothing():
    events = [(10.0, 3.0), (30.0, 0.0), (9999.0, 3.0)]
    found = other_events_regressor(events, TIMES_S, ClipModel("lss"))
    expected = clip_regressors([10.0, 30.0], [3.0, 0.0], TIMES_S, ClipModel("lss")).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for nothing in ([], [(9999.0, 3.0)]):
        assert other_events_regressor(nothing, TIMES_S, ClipModel("lss")).shape == (N_VOLUMES, 0)
    assert other_events_regressor(events, TIMES_S, ClipModel("fir")).shape == (N_VOLUMES, 0)
