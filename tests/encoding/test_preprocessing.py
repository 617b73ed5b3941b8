"""Scaling and PCA against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cinebold.encoding.preprocessing import fit_reducer
from cinebold.errors import InputError


def some_features(n_samples, n_features, dtype=np.float64):
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(n_samples, n_features)) * np.geomspace(5, 0.1, n_features)
    return (latent @ rng.normal(size=(n_features, n_features)) + 7).astype(dtype)


@pytest.mark.parametrize("shape", [(60, 8), (20, 50)])
@pytest.mark.parametrize("pca", [0.5, 0.95, 4])
@pytest.mark.parametrize("standardise", ["features", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reducer_equals_scikit_learn(shape, pca, standardise, dtype):
    features = some_features(*shape, dtype).astype(np.float64)
    reducer = fit_reducer(features, pca, standardise)
    scaled = StandardScaler().fit_transform(features) if standardise == "features" else features
    reference = PCA(pca, svd_solver="full").fit(scaled)
    assert reducer.components.shape == reference.components_.shape
    signs = np.sign((reducer.components * reference.components_).sum(axis=1))
    np.testing.assert_allclose(reducer.components, reference.components_ * signs[:, None], atol=1e-7)
    np.testing.assert_allclose(
        reducer.explained_variance_ratio, reference.explained_variance_ratio_, atol=1e-10
    )
    new = some_features(*shape)[::-1] + 1
    expected = (
        reference.transform(
            StandardScaler().fit(features).transform(new) if standardise == "features" else new
        )
        * signs
    )
    np.testing.assert_allclose(reducer.scores(new), expected, atol=1e-6)
    assert reducer.unit == pytest.approx(np.sqrt(reducer.scores(features).var(axis=0).sum()))


def test_the_strongest_loading_of_a_component_is_positive():
    components = fit_reducer(some_features(60, 8), 8).components
    assert (components[np.arange(len(components)), np.abs(components).argmax(axis=1)] > 0).all()


def test_without_scaling_and_pca_features_pass_as_they_are():
    features = some_features(30, 4)
    np.testing.assert_array_equal(fit_reducer(features, None, "none").scores(features), features)


def test_scores_are_zero_without_a_film():
    features = some_features(30, 4)
    has_film = np.arange(30) % 3 > 0
    scores = fit_reducer(features[has_film], 2).scores(features, has_film)
    assert not scores[~has_film].any() and scores[has_film].all()


def test_constant_and_duplicated_features_do_no_harm():
    features = some_features(40, 5)
    features = np.column_stack([features, np.full(40, 0.1), features[:, 0]])
    reducer = fit_reducer(features, 7)
    assert reducer.n_components == 5
    assert np.isfinite(reducer.scores(features)).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.full((5, 2), 3.0), "constant over the training rows"),
        (np.array([[1.0, np.nan], [2.0, 1.0]]), "not finite"),
        (np.ones((1, 2)), "expected at least two"),
    ],
)
def test_features_that_teach_nothing_are_refused(features, message):
    with pytest.raises(InputError, match=message):
        fit_reducer(features, 0.9, True, "motion")


@pytest.mark.parametrize("standardise", ["features", "volumes", "none"])
@pytest.mark.parametrize("pca", [None, 0.95])
def test_one_constant_column_says_that_a_film_is_shown(standardise, pca):
    column = np.full((6, 1), 3.0)
    reducer = fit_reducer(column, pca, standardise)
    scores = reducer.scores(column, np.arange(6) > 1)
    np.testing.assert_array_equal(scores[:, 0], [0, 0, 1, 1, 1, 1])
    assert (reducer.n_components, reducer.unit) == (1, 1.0)
    with pytest.raises(InputError, match="constant over the training rows"):
        fit_reducer(np.zeros((6, 1)), pca, standardise)
