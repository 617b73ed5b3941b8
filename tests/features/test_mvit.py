"""MViTv2-S: its input against the recipe, its layers against the library's own forward pass on the same weights."""

import numpy as np
import pytest

from cinebold.errors import SettingError
from cinebold.features.extraction import extract_features
from cinebold.features.mvit import LAYERS
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.video.decoding import iterate_frames, probe_film

FILE = "mvit_v2_s-ae3be167.pth"


@pytest.fixture(scope="module")
def weights(tmp_path_factory, write_random_weights):
    """A folder with a file of random weights, and the library's network with the same ones."""
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models.video import mvit_v2_s

    folder = tmp_path_factory.mktemp("weights")
    return folder, write_random_weights(folder, FILE, mvit_v2_s())


def official_input(frames):
    """(n, h, w, 3) uint8 to (1, 3, n, 224, 224): short side to 256, rounded, crop, mean 0.45, deviation 0.225."""
    import torch

    height, width = frames.shape[1:3]
    size = [int(256 * side / min(height, width)) for side in (height, width)]
    pixels = torch.tensor(frames).permute(0, 3, 1, 2).float()
    pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear").round()
    top, left = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    pixels = (pixels[:, :, top : top + 224, left : left + 224] / 255 - 0.45) / 0.225
    return pixels.permute(1, 0, 2, 3)[None]


@pytest.mark.slow
def test_layers_equal_the_library_on_the_same_weights_and_frames(weights, moving_film):
    """One window around 1.2 s: sixteen frames, 2/15 s apart, the first at 0.2 s."""
    import torch

    folder, network = weights
    parameters = {
        "cls": {},
        "logits": {"layer": "logits"},
        "mean": {"layer": "blocks.3", "spatial": "mean"},
        "projected": {"layer": "blocks.14", "n_projected": 64},
    }
    extractors = {
        key: create_extractor("mvit_v2_s", {"hop_s": 2.4, **given}, weights_dir=str(folder))
        for key, given in parameters.items()
    }
    series = extract_features(moving_film, extractors)

    info = probe_film(moving_film)
    frames = np.array([frame for _, frame in iterate_frames(info)])
    samples_s = 1.2 + (np.arange(16) - 7.5) / 7.5
    shown = [max(i for i, t in enumerate(info.pts_s) if t <= time_s + 1e-6) for time_s in samples_s]
    caught = {}
    for index in (3, 14):
        network.blocks[index].register_forward_hook(
            lambda module, given, output, index=index: caught.setdefault(index, output)
        )
    network.head.register_forward_pre_hook(lambda module, given: caught.setdefault("cls", given[0].clone()))
    with torch.no_grad():
        logits = network(official_input(frames[shown]))
    (tokens, _), (late, thw) = caught[3], caught[14]
    assert tuple(thw) == (8, 7, 7)
    by_channel = late[0, 1:].T.reshape(-1).numpy()
    expected = {
        "cls": caught["cls"][0].numpy(),
        "logits": logits[0].numpy(),
        "mean": tokens[0, 1:].mean(dim=0).numpy(),
        "projected": SparseProjection(768 * 8 * 7 * 7, 64).matrix @ by_channel,
    }
    for key, one in series.items():
        assert one.times_s.tolist() == [1.2]
        np.testing.assert_allclose(
            one.values[0], expected[key], atol=2e-4 * np.abs(expected[key]).max(), err_msg=key
        )
        assert len(set(one.names)) == one.values.shape[1] == len(one.names)
    assert series["logits"].names[:2] == ("abseiling", "air drumming")
    assert series["cls"].names[-1] == "cls unit 0767"
    assert series["mean"].names[-1] == "blocks.3 channel 0383"
    assert series["cls"].provenance["window"]["span_s"] == pytest.approx(16 / 7.5)


def test_sizes_of_layers_are_those_of_the_network():
    import torch
    from torchvision.models.video import mvit_v2_s

    from cinebold.features.mvit import token_reader

    with torch.device("meta"):
        network = mvit_v2_s().eval()
        nodes = [node for layer in LAYERS.values() for node in layer.nodes]
        found = token_reader(network, nodes)(torch.empty(1, 3, 16, 224, 224))
    for layer in LAYERS.values():
        for node, shape in layer.nodes.items():
            assert tuple(found[node].shape[1:]) == shape


def test_what_makes_no_sense_is_refused():
    for bad, message in (
        ({"layer": "blocks.16"}, "layer must be one of blocks.0"),
        ({"layer": "blocks.0", "n_projected": 0}, "numbers a window"),
        ({"align": "frame"}, "align must be one of"),
        ({"frames": 32}, "has no parameter 'frames'"),
    ):
        with pytest.raises(SettingError, match=message):
            validate_parameters("mvit_v2_s", bad)
