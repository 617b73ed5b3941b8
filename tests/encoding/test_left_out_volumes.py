"""Volumes that are left out train nothing, and what was on the screen then still explains the volumes after them."""

from dataclasses import replace

import numpy as np

from cinebold.bold.cleaning import clean_responses, nuisance_basis
from cinebold.bold.confounds import load_confounds
from cinebold.bold.confounds_strategies import ConfoundStrategy
from cinebold.design.delays import delayed
from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings

TR_S, N_VOLUMES, N_TARGETS = 2.0, 90, 12
DELAYS = (1, 2, 3)
SETTINGS = EncodingSettings(estimator="ols", pca=None, standardise="none", n_permutations=0)
SCRUBBING = ConfoundStrategy(("trans_*",), fd_threshold_mm=0.5, shortest_segment_volumes=2)


def scrubbed_run(folder, number, generator):
    """A run in whose table every tenth volume or so moved, and whose responses are spikes there."""
    displacement = np.where(generator.random(N_VOLUMES) < 0.12, 0.9, 0.1)
    trans = generator.standard_normal((N_VOLUMES, 2))
    rows = ["trans_x\ttrans_y\tframewise_displacement\tnon_steady_state_outlier00"]
    for volume, (x, y) in enumerate(trans):
        fd = "n/a" if volume == 0 else displacement[volume]
        rows.append(f"{float(x)!r}\t{float(y)!r}\t{fd}\t{int(volume == 0)}")
    table = folder / f"run{number}_desc-confounds_timeseries.tsv"
    table.write_text("\n".join(rows) + "\n")
    confounds = load_confounds(table, SCRUBBING, trim=(2, 4))
    assert 0.05 < 1 - confounds.keep.mean() < 0.4 and set(confounds.dropped) >= {"scrubbed", "trimmed"}

    features = generator.standard_normal((N_VOLUMES, 3))
    basis = nuisance_basis(confounds.values, confounds.keep, TR_S, 0.01)
    nuisance = np.zeros((N_VOLUMES, basis.shape[1]))
    nuisance[confounds.keep] = basis
    design = RunDesign(
        label=f"run-{number}",
        tr_s=TR_S,
        features={"a": features},
        has_film=np.ones(N_VOLUMES, bool),
        film_of_volume=np.zeros(N_VOLUMES, int),
        film_ids=(f"film-{number}",),
        keep=confounds.keep,
        names={"a": ("x", "y", "z")},
        nuisance=nuisance,
    )
    return design, confounds


def test_features_at_left_out_volumes_enter_the_delays(tmp_path):
    generator = np.random.default_rng(3)
    weights = generator.standard_normal((len(DELAYS) * 3, N_TARGETS))
    designs, responses = [], []
    for number in range(3):
        design, confounds = scrubbed_run(tmp_path, number, generator)
        y = delayed(design.features["a"], DELAYS) @ weights
        y += confounds.values @ generator.standard_normal((2, N_TARGETS)) + 100
        y[~confounds.keep] += 1000 * generator.standard_normal((np.sum(~confounds.keep), 1))
        clean_responses(y, confounds.values, confounds.keep, TR_S, 0.01, standardise=False)
        designs.append(design)
        responses.append(y)

    def fitted(designs):
        result = fit_encoding_model(designs, responses, SETTINGS, tuple(TR_S * delay for delay in DELAYS))
        found = result.model.weights["a"].transpose(1, 0, 2).reshape(weights.shape)
        return result.maps["r"], found

    r, found = fitted(designs)
    np.testing.assert_allclose(found, weights, atol=1e-5)
    assert r.min() > 1 - 1e-6
    forgetful = [replace(d, features={"a": d.features["a"] * d.keep[:, None]}) for d in designs]
    worse, wrong = fitted(forgetful)
    assert np.abs(wrong - weights).max() > 0.1 and worse.max() < 0.98
