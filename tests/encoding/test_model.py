"""Models on disk, and their predictions."""

import numpy as np
import pytest

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import InputError
from cinebold.files import read_json


@pytest.fixture(scope="module")
def fitted(simulate_runs):
    designs, responses = simulate_runs(spaces=("a", "b"), n_targets=10)
    responses[1][:, 7] = np.nan
    return (
        designs,
        responses,
        fit_encoding_model(designs, responses, EncodingSettings(n_permutations=0), (1, 2)).model,
    )


@pytest.mark.parametrize("pca", [0.9, None])
def test_a_model_comes_back_as_it_was_saved_and_with_the_same_bytes(tmp_path, simulate_runs, pca):
    designs, responses = simulate_runs(n_targets=10)
    model = fit_encoding_model(designs, responses, EncodingSettings(n_permutations=20, pca=pca), (1, 2)).model
    object.__setattr__(model, "mask", np.arange(12).reshape(2, 2, 3) < 10)
    object.__setattr__(model, "affine", np.eye(4))
    model.save(tmp_path / "sub-01_model")
    loaded = EncodingModel.load(tmp_path / "sub-01_model")
    features, has_film = designs[0].features, designs[0].has_film
    np.testing.assert_array_equal(loaded.predict(features, has_film), model.predict(features, has_film))
    np.testing.assert_array_equal(loaded.mask, model.mask)
    assert loaded.card == model.card and loaded.names == model.names
    loaded.save(tmp_path / "again")
    for ending in (".safetensors", ".json"):
        assert (tmp_path / f"sub-01_model{ending}").read_bytes() == (tmp_path / f"again{ending}").read_bytes()
    assert read_json(tmp_path / "again.json")["delays_s"] == [1.0, 2.0]


def test_weights_are_in_units_of_component_scores(fitted):
    designs, _, model = fitted
    design = designs[0]
    expected = np.zeros((design.n_volumes, 10)) + model.intercept
    for space, reducer in model.reducers.items():
        scaled = (design.features[space] - reducer.mean) / reducer.scale
        scores = scaled @ reducer.components.T
        for position, delay in enumerate(model.delays):
            for volume in range(delay, design.n_volumes):
                expected[volume] += scores[volume - delay] @ model.weights[space][:, position]
    np.testing.assert_allclose(model.predict(design.features, design.has_film), expected, atol=1e-5)


def test_predictions_follow_the_responses_and_lost_voxels_are_nan(fitted):
    designs, responses, model = fitted
    prediction = model.predict(designs[0].features)
    assert np.isnan(prediction[:, 7]).all()
    assert min(np.corrcoef(prediction[:, v], responses[0][:, v])[0, 1] for v in range(5)) > 0.5
    np.testing.assert_allclose(prediction[:, :5].mean(), responses[0][:, :5].mean(), atol=0.2)


def test_without_a_film_only_the_intercept_is_left(fitted):
    designs, _, model = fitted
    prediction = model.predict(designs[0].features, np.zeros(designs[0].n_volumes, dtype=bool))
    np.testing.assert_array_equal(prediction, np.broadcast_to(model.intercept, prediction.shape))


def test_wrong_features_and_half_a_model_are_refused(fitted, tmp_path):
    designs, _, model = fitted
    with pytest.raises(InputError, match="missing: b"):
        model.predict({"a": designs[0].features["a"]})
    with pytest.raises(InputError, match="needs 6 features of a"):
        model.predict({**designs[0].features, "a": np.ones((5, 3))})
    model.save(tmp_path / "m")
    (tmp_path / "m.json").unlink()
    with pytest.raises(InputError, match="not whole"):
        EncodingModel.load(tmp_path / "m")
