"""What was regressed out of the responses is regressed out of the design: weights stay unbiased, r does not suffer."""

from dataclasses import replace

import numpy as np
import pytest

from cinebold.bold.cleaning import clean_responses, nuisance_basis
from cinebold.design.delays import delayed
from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings

TR_S, N_VOLUMES, N_FEATURES, N_TARGETS, N_RUNS = 2.0, 150, 4, 30, 3
SETTINGS = EncodingSettings(pca=None, standardise="none", n_permutations=0, alphas=(1e-8, 1e-4, 1e-2))
DELAYS_S = (2.0, 4.0)


@pytest.fixture(scope="module")
def planted():
    """Runs whose confounds share half of their variance with the features, and the weights that made the responses."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((2 * N_FEATURES, N_TARGETS))
    designs, responses = [], []
    for run in range(N_RUNS):
        features = generator.standard_normal((N_VOLUMES, N_FEATURES))
        confounds = np.hstack(
            [
                features[:, :2] + generator.standard_normal((N_VOLUMES, 2)),
                generator.standard_normal((N_VOLUMES, 20)),
            ]
        )
        keep = np.ones(N_VOLUMES, bool)
        keep[:2] = False
        signal = delayed(features, (1, 2)) @ weights
        y = (
            signal
            + 3 * confounds @ generator.standard_normal((22, N_TARGETS))
            + 0.5 * generator.standard_normal(signal.shape)
        )
        scale = clean_scale(y, confounds, keep)
        clean_responses(y, confounds, keep, TR_S, 0.01)
        basis = nuisance_basis(confounds, keep, TR_S, 0.01)
        nuisance = np.zeros((N_VOLUMES, basis.shape[1]))
        nuisance[keep] = basis
        designs.append(
            RunDesign(
                label=f"run-{run}",
                tr_s=TR_S,
                features={"a": features},
                has_film=np.ones(N_VOLUMES, bool),
                film_of_volume=np.zeros(N_VOLUMES, int),
                film_ids=(f"film-{run}",),
                keep=keep,
                names={"a": tuple("abcd")},
                nuisance=nuisance,
            )
        )
        responses.append(y * scale)  # undo the z-score, so that one set of weights holds in all runs
    return designs, responses, weights


def clean_scale(y, confounds, keep):
    """The standard deviation that the z-score of `clean_responses` divides by."""
    basis = nuisance_basis(confounds, keep, TR_S, 0.01)
    values = y[keep] - y[keep].mean(axis=0)
    return (values - basis @ (basis.T @ values)).std(axis=0)


def fitted(designs, responses):
    result = fit_encoding_model(designs, responses, SETTINGS, DELAYS_S)
    found = result.model.weights["a"].transpose(1, 0, 2).reshape(2 * N_FEATURES, -1)
    return result.maps["r"].mean(), found


def test_weights_are_those_that_were_planted(planted):
    designs, responses, weights = planted
    r, found = fitted(designs, responses)
    np.testing.assert_allclose(found, weights, atol=0.35)
    assert abs((found * weights).sum() / (weights**2).sum() - 1) < 0.02
    assert r > 0.93


def test_a_raw_design_predicts_what_is_not_there_any_more(planted):
    designs, responses, weights = planted
    r, _ = fitted(designs, responses)
    raw, found = fitted([replace(design, nuisance=None) for design in designs], responses)
    assert raw < r - 0.05
    assert abs((found * weights).sum() / (weights**2).sum() - 1) > 0.05


def test_it_equals_one_regression_on_features_and_confounds_together(planted):
    """Frisch, Waugh and Lovell: the weights of both steps are those of the joint least-squares fit."""
    designs, responses, _ = planted
    exact = replace(SETTINGS, alphas=(1e-12,))
    found = fit_encoding_model(designs, responses, exact, DELAYS_S).model.weights["a"]
    found = found.transpose(1, 0, 2).reshape(2 * N_FEATURES, -1)
    blocks, ys = [], []
    for number, (design, y) in enumerate(zip(designs, responses, strict=True)):
        columns = delayed(design.features["a"], (1, 2))[design.keep]
        own = [np.zeros((design.keep.sum(), d.nuisance.shape[1])) for d in designs]
        own[number] = design.nuisance[design.keep]
        blocks.append(np.hstack([columns, *own]))
        ys.append(y[design.keep])
    joint = np.linalg.lstsq(np.concatenate(blocks), np.concatenate(ys), rcond=None)[0][: 2 * N_FEATURES]
    np.testing.assert_allclose(found, joint, atol=1e-4)


def test_a_design_keeps_its_nuisance_on_disk(planted, tmp_path):
    design = planted[0][0]
    np.testing.assert_array_equal(RunDesign.load(design.save(tmp_path / "d.npz")).nuisance, design.nuisance)
