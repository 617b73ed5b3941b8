"""The settings of the 2021 project against its code, step by step: z-score across classes, PCA, one LASSO a voxel."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings

SETTINGS = EncodingSettings(
    estimator="lasso",
    alphas=(0.1,),
    alpha_unit="absolute",
    pca=0.95,
    standardise="volumes",
    intercept="all",
    n_permutations=0,
)
LENGTHS, N_CLASSES, N_VOXELS = (90, 100), 40, 15


@pytest.fixture(scope="module")
def movies():
    """Class scores of two movies and raw BOLD with its own level in each run, as the project had them."""
    rng = np.random.default_rng(2021)
    mixing = rng.normal(size=(12, N_CLASSES))
    logits = [rng.normal(size=(n, 12)) @ mixing + 0.3 * rng.normal(size=(n, N_CLASSES)) for n in LENGTHS]
    weights = rng.normal(size=(N_CLASSES, N_VOXELS)) * (rng.random((N_CLASSES, N_VOXELS)) < 0.2)
    bold = [
        1000 + 20 * run + x @ weights + rng.normal(size=(len(x), N_VOXELS)) for run, x in enumerate(logits)
    ]
    designs = [
        RunDesign(
            label=f"movie-{run}",
            tr_s=1.0,
            features={"classes": x},
            has_film=np.ones(len(x), dtype=bool),
            film_of_volume=np.zeros(len(x), dtype=np.int64),
            film_ids=(f"movie-{run}",),
            keep=np.ones(len(x), dtype=bool),
            names={"classes": tuple(map(str, range(N_CLASSES)))},
        )
        for run, x in enumerate(logits)
    ]
    return logits, bold, designs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_number_is_the_one_of_the_code_of_2021(movies, dtype):
    logits, bold, designs = movies
    bold = [run.astype(dtype) for run in bold]
    result = fit_encoding_model(designs, bold, SETTINGS, (0.0,))

    classes = np.concatenate(logits).T  # (n_classes, n_volumes), as the project kept them
    z = (classes - classes.mean(axis=0)) / classes.std(axis=0)
    pca = PCA(0.95, svd_solver="full").fit(z.T)
    components = pca.transform(z.T)
    reducer = result.model.reducers["classes"]
    assert reducer.n_components == pca.n_components_ and reducer.unit == 1.0
    signs = np.sign((reducer.components * pca.components_).sum(axis=1))
    np.testing.assert_allclose(reducer.components, pca.components_ * signs[:, None], atol=1e-8)

    y = np.concatenate(bold).astype(np.float64)
    for voxel in range(N_VOXELS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs = Lasso(alpha=0.1, tol=1e-8, max_iter=100_000).fit(components, y[:, voxel])
        np.testing.assert_allclose(
            result.model.weights["classes"][:, 0, voxel], theirs.coef_ * signs, atol=1e-4
        )
        prediction = np.concatenate([result.model.predict({"classes": x})[:, voxel] for x in logits])
        np.testing.assert_allclose(
            prediction, theirs.predict(components), atol=0.05 if dtype == np.float32 else 2e-3
        )
    assert (result.maps["alpha"] == np.float32(0.1)).all()


def test_beside_it_stands_a_held_out_score_that_the_project_never_had(movies):
    _, bold, designs = movies
    result = fit_encoding_model(designs, bold, SETTINGS, (0.0,))
    assert result.maps["r"].mean() > 0.5
    assert [fold["held_out"] for fold in result.diagnostics["folds"]] == ["movie-0", "movie-1"]
    assert result.diagnostics["alpha_unit"] == "absolute" and result.diagnostics["standardise"] == "volumes"
