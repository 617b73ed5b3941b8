"""The level of every test that is offered, on whole nested fits to slow films and autocorrelated noise.

The parametric test of the same correlations is shown to fail beside it.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student_t

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import CrossValidation, EncodingSettings

N_NULL = 1500
LOWER, UPPER = binom.ppf([0.005, 0.995], N_NULL, 0.05) / N_NULL
LENGTHS = (170, 180, 175, 165)
SCHEMES = {
    "leave-one-run-out": CrossValidation(),
    "k-fold": CrossValidation("k-fold", n_folds=2),
    "split": CrossValidation("split", test=("run-1", "run-2")),
    "leave-one-stimulus-out": CrossValidation("leave-one-stimulus-out", n_folds=4),
}


def slow(rng, shape, coefficient=0.6):
    values = rng.normal(size=(shape[0] + 100, *shape[1:]))
    for t in range(1, len(values)):
        values[t] += coefficient * values[t - 1]
    return values[100:]


@pytest.fixture(scope="module")
def null_runs(simulate_runs):
    """Two films a run, slow features, AR(1) noise in every voxel."""
    designs, responses = simulate_runs(
        LENGTHS, n_features=15, n_targets=N_NULL, signal=0, autocorrelation=0.6
    )
    rng = np.random.default_rng(31)
    changed = []
    for design in designs:
        films = (np.arange(design.n_volumes) >= design.n_volumes // 2).astype(np.int64)
        changed.append(
            replace(
                design,
                features={"a": slow(rng, (design.n_volumes, 8)), "b": slow(rng, (design.n_volumes, 8))},
                names={"a": tuple("abcdefgh"), "b": tuple("ijklmnop")},
                film_of_volume=films,
                film_ids=(f"{design.label}-1", f"{design.label}-2"),
            )
        )
    return changed, responses


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("permutation", ["circular-shift", "block"])
def test_noise_is_significant_as_often_as_the_level_says_or_less(null_runs, name, permutation):
    designs, responses = null_runs
    settings = EncodingSettings(
        n_permutations=400, permutation_scheme=permutation, block_s=20, cross_validation=SCHEMES[name]
    )
    result = fit_encoding_model(designs, responses, settings, (1, 2, 3))
    share = (result.maps["p"] <= 0.05).mean()
    # The correction for coupled folds is an upper bound: such a test may be strict. A split has nothing to correct.
    assert (LOWER if name == "split" else 0.0) <= share <= UPPER
    r, n = result.maps["r"], result.diagnostics["n_rows_scored"]
    parametric = student_t.sf(r * np.sqrt((n - 2) / (1 - r**2)), n - 2)
    assert (parametric <= 0.05).mean() > 1.5 * UPPER
    # One brain: its largest r is not to be believed either.
    assert result.maps["pfwe"].min() > 0.01
    assert not (result.maps["q"] < 0.05).any()


@pytest.mark.slow
def test_the_best_of_several_layers_is_not_found_in_noise_more_often_than_the_rate_says(null_runs):
    designs, responses = null_runs
    result = fit_encoding_model(
        designs, responses, EncodingSettings(n_permutations=400, layers=True), (1, 2, 3)
    )
    for space in ("a", "b"):
        assert (result.maps[f"p_desc-{space}"] <= 0.05).mean() <= UPPER
    assert np.isfinite(result.maps["bestlayer"]).mean() <= 0.01
