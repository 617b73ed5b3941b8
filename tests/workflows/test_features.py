"""The stage that stores features."""

import av
import h5py
import numpy as np
import pytest
import torch

from cinebold.features.basis_fit import fit_basis
from cinebold.features.registry import create_extractor
from workflows.interfaces.features import extract
from workflows.specifications import FeatureExtraction, FeatureSpace, to_json


@pytest.fixture
def film(tmp_path):
    """A second of frames that grow lighter."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height = stream.width = 32
        for level in range(10):
            picture = np.full((32, 32, 3), 20 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def test_each_space_is_stored_as_its_recipe_says(film, tmp_path):
    spaces = (FeatureSpace("full", "low_level"), FeatureSpace("half", "low_level", store_dtype="float16"))
    outputs = tuple(str(tmp_path / f"{space.name}.h5") for space in spaces)
    n_threads = torch.get_num_threads()
    extract(to_json(FeatureExtraction(str(film), "a.mp4", spaces, outputs)), "cpu", n_threads, False)
    stored = {}
    for space, output in zip(spaces, outputs, strict=True):
        with h5py.File(output) as file:
            stored[space.name] = file["values"][()]
    assert {name: str(values.dtype) for name, values in stored.items()} == {
        "full": "float32",
        "half": "float16",
    }
    np.testing.assert_array_equal(stored["half"], stored["full"].astype(np.float16))


def test_a_space_with_a_basis_keeps_scores_of_its_windows_only(film, tmp_path):
    parameters = {"layer": "fc8", "rate_hz": 5.0, "hop_s": 0.2}
    network = create_extractor("alexnet", parameters, random_weights=True, seed=3)
    basis = str(fit_basis([film], network, 2, tmp_path / "basis.safetensors").path)
    spaces = (
        FeatureSpace("net", "alexnet", parameters),
        FeatureSpace("few", "alexnet", parameters, basis=basis),
    )
    outputs = tuple(str(tmp_path / f"{space.name}.h5") for space in spaces)
    extraction = FeatureExtraction(str(film), "a.mp4", spaces, outputs, random_weights=True, seed=3)
    extract(to_json(extraction), "cpu", torch.get_num_threads(), False)
    whole, few = (h5py.File(output)["values"][()].astype(float) for output in outputs)
    assert (whole.shape, few.shape) == ((5, 1000), (5, 2))
    _, sizes, rows = np.linalg.svd(whole - whole.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(
        np.abs(few), np.abs((whole - whole.mean(axis=0)) @ rows[:2].T), atol=1e-3 * sizes[0]
    )
