"""Parts of the joint score against explicit predictions, refits on fewer spaces and planted truths."""

from dataclasses import replace

import numpy as np
import pytest

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.preprocessing import columns_of_spaces
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.training import held_out_statistics, held_out_sums, train
from cinebold.encoding.training_sets import prepare_training
from cinebold.encoding.variance_partitioning import (
    partial_r,
    partial_rsquared,
    product_measure_r,
    product_measure_rsquared,
    restricted,
    space_sums,
    space_sums_of_predictions,
    unique_rsquared,
)
from cinebold.errors import InputError

DELAYS = (1, 2)
ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 3, 7))


@pytest.fixture(scope="module", params=["ridge", "lasso"])
def nested(request, simulate_runs):
    """A nested fit of two spaces: designs, responses, and for each held-out run its training, sums and predictions."""
    alphas = ALPHAS if request.param == "ridge" else (0.01, 0.1, 0.5)
    settings = EncodingSettings(estimator=request.param, pca=4, alphas=alphas, n_permutations=0)
    designs, responses = simulate_runs(n_targets=12, spaces=("a", "b"), seed=3)
    rows = stack_rows(designs, DELAYS)
    y = np.concatenate(responses)
    folds = []
    for run, fold in enumerate(outer_folds(rows, max(DELAYS))):
        prepared = prepare_training(fold, rows, designs, DELAYS, settings)
        trained = train(prepared, y, alphas)
        columns = columns_of_spaces({"a": 4, "b": 4}, len(DELAYS))
        (test,) = held_out_statistics(prepared, y).values()
        held = (rows.run == run) & rows.used
        parts = [prepared.features[held][:, c] @ trained.weights[c] for c in columns.values()]
        folds.append((prepared, trained, space_sums(trained.weights, test, columns), y[held], parts))
    return designs, responses, settings, folds, y


def test_sums_equal_those_of_predictions(nested):
    folds, y = nested[3:]
    for prepared, trained, sums, response, parts in folds:
        slow = space_sums_of_predictions(response, parts)
        assert slow.n == sums.n
        for name in ("response_squared", "product", "part_products"):
            np.testing.assert_allclose(getattr(sums, name), getattr(slow, name), rtol=1e-6, atol=1e-8)
        (joint,) = held_out_sums(prepared, trained.weights, y).values()
        np.testing.assert_allclose(sums.joint.product, joint.product, atol=1e-8)
        np.testing.assert_allclose(sums.joint.prediction_squared, joint.prediction_squared, atol=1e-8)


def test_product_measures_equal_a_loop_over_predictions_and_sum_to_the_joint_score(nested):
    folds = nested[3]
    sums = [fold[2] for fold in folds]
    rsquared, r = product_measure_rsquared(sums), product_measure_r(sums)
    joint = [sum_.joint for sum_ in sums]
    np.testing.assert_allclose(rsquared.sum(axis=0), held_out_rsquared(joint), atol=1e-12)
    np.testing.assert_allclose(r.sum(axis=0), held_out_r(joint), atol=1e-12)
    n = sum(len(fold[3]) for fold in folds)
    for voxel in range(rsquared.shape[1]):
        for k in range(2):
            explained = total = expected_r = 0.0
            for *_, response, parts in folds:
                y = response[:, voxel] - response[:, voxel].mean()
                part, whole = parts[k][:, voxel], parts[0][:, voxel] + parts[1][:, voxel]
                part, whole = part - part.mean(), whole - whole.mean()
                explained += part @ (2 * y - whole)
                total += y @ y
                scale = np.linalg.norm(y) * np.linalg.norm(whole)
                expected_r += len(y) / n * (part @ y / scale if scale > 0 else 0.0)
            assert rsquared[k, voxel] == pytest.approx(explained / total, abs=1e-6)
            assert r[k, voxel] == pytest.approx(expected_r, abs=1e-6)


def test_partial_r_equals_the_correlation_of_residuals(nested):
    folds = nested[3]
    found = partial_r([fold[2] for fold in folds])
    n = sum(len(fold[3]) for fold in folds)

    def residual(values, other):
        design = np.column_stack([np.ones(len(other)), other])
        return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]

    for voxel in range(found.shape[1]):
        for k in range(2):
            expected = 0.0
            for *_, response, parts in folds:
                part, other = parts[k][:, voxel], parts[1 - k][:, voxel]
                if part.std() > 1e-10:
                    expected += (
                        len(part)
                        * np.corrcoef(residual(response[:, voxel], other), residual(part, other))[0, 1]
                    )
            assert found[k, voxel] == pytest.approx(expected / n, abs=1e-6)


def test_unique_and_partial_variance_equal_a_fit_of_fewer_spaces(nested):
    designs, responses, settings, folds, y = nested
    without = {"a": [], "b": []}
    for prepared, *_ in folds:
        for left_out, kept in (("a", "b"), ("b", "a")):
            fewer, _ = restricted(prepared, [kept])
            weights = train(fewer, y, settings.alphas).weights
            without[left_out] += held_out_sums(fewer, weights, y).values()
    joint = [fold[2].joint for fold in folds]
    unique, partial = unique_rsquared(joint, without), partial_rsquared(joint, without)
    full = held_out_rsquared(joint)
    for left_out, kept in (("a", "b"), ("b", "a")):
        smaller = [
            replace(design, features={kept: design.features[kept]}, names={kept: design.names[kept]})
            for design in designs
        ]
        alone = fit_encoding_model(smaller, responses, settings, DELAYS).maps["rsquared"]
        np.testing.assert_allclose(unique[left_out], full - alone, atol=1e-6)
        np.testing.assert_allclose(partial[left_out], 1 - (1 - full) / (1 - alone), atol=1e-6)
        # Both spaces drive the first half of the voxels, neither the second.
        assert unique[left_out][:6].mean() > 0.1 > 0.05 > unique[left_out][6:].mean()


def test_all_spaces_are_the_training_set_itself_and_unknown_ones_refused(nested):
    settings, folds, y = nested[2:]
    prepared, trained, *_ = folds[0]
    same = train(restricted(prepared, ["b", "a"])[0], y, settings.alphas)
    np.testing.assert_allclose(same.weights, trained.weights, atol=1e-12)
    with pytest.raises(InputError, match="got c"):
        restricted(prepared, ["a", "c"])
    with pytest.raises(InputError, match="got none"):
        restricted(prepared, [])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planted_parts_are_found(dtype):
    """Independent parts with 30 % and 10 % of the variance, predicted as they are; a third says nothing."""
    rng = np.random.default_rng(4)
    runs, alone = [], []
    for n in (4000, 6000):
        parts = np.stack([np.sqrt(share) * rng.normal(size=(n, 3)) for share in (0.3, 0.1, 0.0)])
        y = parts.sum(axis=0) + np.sqrt(0.6) * rng.normal(size=(n, 3)) + 7
        runs.append(space_sums_of_predictions(y.astype(dtype), parts.astype(dtype)))
        alone.append(sums_of_predictions(y, parts[1]))
    measured = product_measure_rsquared(runs)
    np.testing.assert_allclose(measured[:, 0], [0.3, 0.1, 0.0], atol=0.03)
    unique = unique_rsquared([run.joint for run in runs], {"first": alone})["first"]
    np.testing.assert_allclose(unique, 0.3, atol=0.03)
    partial = partial_rsquared([run.joint for run in runs], {"first": alone})["first"]
    np.testing.assert_allclose(partial, 0.3 / 0.9, atol=0.03)
    np.testing.assert_allclose(
        partial_r(runs)[:, 0], [np.sqrt(0.3 / 0.9), np.sqrt(0.1 / 0.7), 0.0], atol=0.03
    )


def test_equal_parts_share_their_score_and_add_nothing_to_each_other():
    rng = np.random.default_rng(5)
    signal = rng.normal(size=(200, 2))
    y = signal + rng.normal(size=signal.shape)
    y[:, 1] = 4.0
    runs = [space_sums_of_predictions(y, [signal / 4, signal / 4])]
    measured = product_measure_rsquared(runs)
    assert measured[0, 0] == pytest.approx(measured[1, 0])
    assert np.isnan(measured[:, 1]).all() and np.isnan(product_measure_r(runs)[:, 1]).all()
    np.testing.assert_array_equal(partial_r(runs), [[0, np.nan], [0, np.nan]])
