"""Layer maps against loops and a planted hierarchy."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from cinebold.encoding.layers import best_layer, centre_of_mass_layer, significant_in_any_layer
from cinebold.encoding.scores import held_out_r, sums_of_predictions
from cinebold.errors import InputError, SettingError


def test_maps_equal_a_loop_over_voxels():
    rng = np.random.default_rng(30)
    scores = rng.normal(scale=0.2, size=(5, 200))
    scores[2, 7] = np.nan
    scores[:, 8] = -0.1
    scores[:, 9] = [0.3, 0.1, 0.3, 0.0, 0.0]
    significant = rng.random(200) < 0.8
    significant[7:10] = True
    layers = (1, 2, 4, 8, 16)
    best = best_layer(scores, significant, margin=0.05, layers=layers)
    centre = centre_of_mass_layer(scores, significant, layers=layers)
    for voxel in range(200):
        values = scores[:, voxel]
        if not significant[voxel] or np.isnan(values).any():
            assert np.isnan(best[voxel]) and np.isnan(centre[voxel])
            continue
        order = np.argsort(values)
        clear = values[order[-1]] - values[order[-2]] >= 0.05
        assert best[voxel] == layers[order[-1]] if clear else np.isnan(best[voxel])
        weights = np.clip(values, 0, None)
        if weights.sum() > 0:
            assert centre[voxel] == pytest.approx(np.average(layers, weights=weights))
        else:
            assert np.isnan(centre[voxel])
    assert np.isnan(best[[7, 8, 9]]).all()


def test_a_planted_hierarchy_is_found():
    """Voxel groups driven by one layer each, layers alike as in a network: each is a mixture with the next."""
    rng = np.random.default_rng(31)
    n_layers, n_samples, n_each = 4, 600, 50
    own = rng.normal(size=(n_layers, n_samples))
    features = [own[layer] + 0.5 * own[(layer + 1) % n_layers] for layer in range(n_layers)]
    truth = np.repeat(np.arange(n_layers + 1), n_each)  # the last group is noise
    signal = np.stack([*features, np.zeros(n_samples)])[truth].T
    y = 0.6 * signal + rng.normal(size=signal.shape)
    scores = np.stack(
        [
            held_out_r([sums_of_predictions(y, np.repeat(feature[:, np.newaxis], y.shape[1], axis=1))])
            for feature in features
        ]
    )
    # One-sided p of white samples by Fisher's z.
    significant = significant_in_any_layer(norm.sf(np.arctanh(scores) * np.sqrt(n_samples - 3)))
    assert significant[truth < n_layers].all()
    assert significant[truth == n_layers].mean() < 0.2
    best = best_layer(scores, significant)
    assert (best[truth < n_layers] == truth[truth < n_layers] + 1).mean() > 0.97
    doubtful = np.isnan(best_layer(scores, significant, margin=0.2))
    assert doubtful[truth == n_layers].all()
    half = scores.max(axis=0) / 2
    sharp = centre_of_mass_layer(scores, significant, baseline=half)
    flat = centre_of_mass_layer(scores, significant)
    error = [np.nanmean(np.abs(centre - truth - 1)[truth < n_layers]) for centre in (sharp, flat)]
    assert error[0] < 0.4 < error[1]


def test_masks_count_all_layers_and_leave_nan_out():
    rng = np.random.default_rng(32)
    p = rng.uniform(size=(6, 300))
    p[3, :20] = 1e-5
    p[:, 20] = np.nan
    p[2, 21] = np.nan
    least = np.minimum(6 * np.nanmin(np.delete(p, 20, axis=1), axis=0), 1)
    expected = np.insert(false_discovery_control(least) <= 0.05, 20, False)
    np.testing.assert_array_equal(significant_in_any_layer(p), expected)
    assert expected[:20].all()
    # Noise alone: a family with no true discovery is called significant in at most one of twenty cases.
    false = [significant_in_any_layer(rng.uniform(size=(6, 50))).any() for _ in range(1000)]
    assert np.mean(false) < 0.07


def test_what_does_not_fit_is_refused():
    scores, mask = np.zeros((2, 3)), np.ones(3, dtype=bool)
    with pytest.raises(InputError, match="at least two layers"):
        best_layer(scores[:1], mask)
    with pytest.raises(InputError, match="True or False"):
        centre_of_mass_layer(scores, np.ones(3))
    with pytest.raises(InputError, match="rising layer numbers"):
        best_layer(scores, mask, layers=(2, 1))
    with pytest.raises(SettingError, match="margin"):
        best_layer(scores, mask, margin=-1)
    with pytest.raises(InputError, match="n_layers, n_targets"):
        significant_in_any_layer(np.zeros(3))
