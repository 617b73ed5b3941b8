"""The stage that stores features."""

import av
import h5py
import numpy as np
import torch

from workflows.interfaces.features import extract
from workflows.specifications import FeatureExtraction, FeatureSpace, to_json


def test_each_space_is_stored_as_its_recipe_says(tmp_path):
    film = tmp_path / "a.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height = stream.width = 32
        for level in range(10):
            picture = np.full((32, 32, 3), 20 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
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
