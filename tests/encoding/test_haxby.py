"""A category design on real BOLD through the same code: the Haxby slice, and the like of it simulated."""

import numpy as np
import pytest
from scipy.signal import detrend
from sklearn.linear_model import Ridge

from cinebold.design.delays import delayed
from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings

TR_S = 2.5
DELAYS_S = (2.5, 5.0, 7.5)
#: One-hot columns stay as they are.
SETTINGS = EncodingSettings(pca=None, standardise="none", n_permutations=200)


def category_designs(labels_of_runs):
    """One column a category. The paradigm is on all the time, and each run is a stimulus of its own."""
    categories = sorted({label for labels in labels_of_runs for label in labels} - {"rest"})
    return [
        RunDesign(
            label=f"run-{run:02d}",
            tr_s=TR_S,
            features={
                "category": np.array([[float(label == name) for name in categories] for label in labels])
            },
            has_film=np.ones(len(labels), dtype=bool),
            film_of_volume=np.zeros(len(labels), dtype=np.int64),
            film_ids=(f"blocks of run {run}",),
            keep=np.ones(len(labels), dtype=bool),
            names={"category": tuple(categories)},
        )
        for run, labels in enumerate(labels_of_runs)
    ]


def standardised(bold):
    """Linear trend out, then z-score; constant voxels NaN, as `clean_responses` leaves them."""
    straight = detrend(bold, axis=0)
    deviation = straight.std(axis=0)
    return straight / np.where(deviation > 0, deviation, np.nan)


@pytest.fixture(scope="module")
def haxby(shared_data):
    import nibabel

    folder = shared_data / "haxby"
    rows = [
        line.split() for line in (folder / "attributes_literal.txt").read_text().splitlines() if line.strip()
    ]
    labels, runs = np.array([row[0] for row in rows]), np.array([int(row[1]) for row in rows])
    bold = nibabel.load(folder / "bold.nii.gz").get_fdata()
    mask = nibabel.load(folder / "mask.nii.gz").get_fdata() > 0
    responses = bold[mask.reshape(bold.shape[:3])].T
    return (
        category_designs([list(labels[runs == run]) for run in range(12)]),
        [standardised(responses[runs == run]).astype(np.float32) for run in range(12)],
    )


def test_categories_predict_held_out_runs_of_the_haxby_slice(haxby):
    designs, responses = haxby
    result = fit_encoding_model(designs, responses, SETTINGS, DELAYS_S)
    r = result.maps["r"]
    assert np.nanmax(r) >= 0.6
    assert np.nanmin(result.maps["q"]) < 0.05
    assert result.diagnostics["cross_validation"]["scheme"] == "leave-one-run-out"
    assert all(fold["n_train"] == 11 * 121 for fold in result.diagnostics["folds"])


def test_the_haxby_scores_equal_an_explicit_scikit_learn_loop(haxby):
    designs, responses = haxby
    alpha = 1.0
    settings = EncodingSettings(alphas=(alpha,), pca=None, standardise="none", n_permutations=0)
    result = fit_encoding_model(designs, responses, settings, DELAYS_S)
    best = np.argsort(np.nan_to_num(result.maps["r"]))[-5:]
    x = [delayed(design.features["category"], (1, 2, 3)) for design in designs]
    x = [run - run.mean(axis=0) for run in x]
    y = [response[:, best].astype(np.float64) for response in responses]
    y = [run - run.mean(axis=0) for run in y]
    r = []
    for held_out in range(12):
        rest = np.concatenate([x[run] for run in range(12) if run != held_out])
        penalty = alpha * np.trace(rest.T @ rest) / rest.shape[1]
        model = Ridge(penalty, fit_intercept=False)
        model.fit(rest, np.concatenate([y[run] for run in range(12) if run != held_out]))
        prediction = model.predict(x[held_out])
        r.append([np.corrcoef(prediction[:, v], y[held_out][:, v])[0, 1] for v in range(5)])
    np.testing.assert_allclose(result.maps["r"][best], np.mean(r, axis=0), atol=1e-5)


def test_simulated_blocks_are_found_where_they_were_planted():
    rng = np.random.default_rng(14)
    block = ["rest"] * 6
    for name in ("face", "house", "shoe", "chair"):
        block += [name] * 9 + ["rest"] * 5
    designs = category_designs([block] * 6)
    shape = np.array([0.2, 1.0, 0.6])
    tuning = rng.normal(size=(4, 30)) * (np.arange(30) < 10)
    responses = []
    for design in designs:
        drive = delayed(design.features["category"], (1, 2, 3)) @ np.kron(shape[:, None], tuning)
        responses.append(standardised(drive + 1.5 * rng.normal(size=drive.shape)))
    r = fit_encoding_model(designs, responses, SETTINGS, DELAYS_S).maps["r"]
    assert r.max() >= 0.6
    assert r[:10].mean() > 0.4 > r[10:].max()
