"""Designs of one response a clip and repeat: repeats are never split, and planted truth is found."""

import numpy as np
import pytest

from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from cinebold.errors import InputError

N_CLIPS, N_FEATURES, N_VOXELS = 60, 12, 40
SCHEME = CrossValidation("leave-one-stimulus-out", n_folds=6)
SETTINGS = EncodingSettings(
    estimator="ols", pca=8.0, n_permutations=200, permutation_scheme="block", cross_validation=SCHEME
)


def clips(n_repeats=3, signal=1.0, seed=0):
    """Sessions that show every clip once each, in another order: a row is a clip's response."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N_CLIPS, N_FEATURES))
    truth = features @ rng.normal(size=(N_FEATURES, N_VOXELS)) * (np.arange(N_VOXELS) < N_VOXELS // 2)
    truth /= np.maximum(truth.std(axis=0), 1e-12)
    designs, responses = [], []
    for session in range(n_repeats):
        order = rng.permutation(N_CLIPS)
        y = signal * truth[order] + rng.normal(size=(N_CLIPS, N_VOXELS))
        responses.append((y - y.mean(axis=0)) / y.std(axis=0))
        designs.append(
            RunDesign(
                label=f"ses-{session}",
                tr_s=1.0,
                features={"s3d": features[order]},
                has_film=np.ones(N_CLIPS, dtype=bool),
                film_of_volume=np.arange(N_CLIPS),
                film_ids=tuple(f"clip-{clip}" for clip in order),
                keep=np.ones(N_CLIPS, dtype=bool),
                names={"s3d": tuple(map(str, range(N_FEATURES)))},
            )
        )
    return designs, responses


def test_all_repeats_of_a_clip_are_held_out_together():
    designs, _ = clips()
    rows = stack_rows(designs, (0,))
    folds = outer_folds(rows, 0, SCHEME)
    assert len(folds) == 6
    np.testing.assert_array_equal(np.sum([fold.test for fold in folds], axis=0), 1)
    for fold in folds:
        assert fold.test.sum() == 10 * 3 and fold.train.sum() == 50 * 3
        assert not (rows.shows[fold.test].any(axis=0) & rows.shows[fold.train].any(axis=0)).any()
        assert fold.inner_scheme == "films"
        for inner in fold.inner:
            assert not (rows.shows[inner.test].any(axis=0) & rows.shows[inner.train].any(axis=0)).any()


def test_leaving_out_runs_that_show_the_same_clips_is_impossible():
    designs, responses = clips()
    with pytest.raises(InputError, match="same film may not stand on both sides"):
        fit_encoding_model(designs, responses, EncodingSettings(n_permutations=0), (0.0,))


@pytest.mark.parametrize("estimator", ["ols", "ridge"])
def test_planted_voxels_are_found_and_noise_is_not(estimator):
    designs, responses = clips()
    settings = EncodingSettings(
        estimator=estimator, pca=None, n_permutations=200, permutation_scheme="block", cross_validation=SCHEME
    )
    result = fit_encoding_model(designs, responses, settings, (0.0,))
    planted = np.arange(N_VOXELS) < N_VOXELS // 2
    # Half of the variance of a single response is the clip's: no model can exceed r = .71.
    assert 0.85 * np.sqrt(0.5) < result.maps["r"][planted].mean() < np.sqrt(0.5) + 0.02
    assert abs(result.maps["r"][~planted].mean()) < 0.06
    assert (result.maps["q"][planted] < 0.05).all()
    assert (result.maps["p"][~planted] < 0.05).mean() <= 0.2


def test_components_of_the_clips_are_learned_on_the_training_clips_alone():
    designs, responses = clips()
    result = fit_encoding_model(designs, responses, SETTINGS, (0.0,))
    assert result.diagnostics["final"]["n_components"] == {"s3d": 8}
    assert result.diagnostics["estimator"] == "ols"
    assert result.maps["r"][: N_VOXELS // 2].mean() > 0.4


def test_a_split_by_sessions_with_other_clips_scores_the_test_session_only():
    designs, responses = clips()
    rng = np.random.default_rng(4)
    other = RunDesign(
        label="task-test",
        tr_s=1.0,
        features={"s3d": rng.normal(size=(N_CLIPS, N_FEATURES))},
        has_film=np.ones(N_CLIPS, dtype=bool),
        film_of_volume=np.arange(N_CLIPS),
        film_ids=tuple(f"new-{clip}" for clip in range(N_CLIPS)),
        keep=np.ones(N_CLIPS, dtype=bool),
        names=designs[0].names,
    )
    fitted = fit_encoding_model(
        [*designs, other],
        [*responses, rng.normal(size=(N_CLIPS, N_VOXELS))],
        EncodingSettings(
            estimator="ridge",
            pca=None,
            n_permutations=0,
            cross_validation=CrossValidation("split", test=("test",)),
        ),
        (0.0,),
    )
    assert [fold["held_out"] for fold in fitted.diagnostics["folds"]] == ["task-test"]
    # The responses of the test session are noise: nothing of the training sessions is in the score.
    assert abs(fitted.maps["r"].mean()) < 0.1
