"""ResNet-50: its two official inputs, its layers against the library's own forward pass on the same weights."""

import shutil

import numpy as np
import pytest

from cinebold.errors import MissingWeightsError, SettingError
from cinebold.features.extraction import extract_features
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.video.decoding import iterate_frames, probe_film

FIRST, SECOND = "resnet50-0676ba61.pth", "resnet50-11ad3fa6.pth"
#: The modules whose output a layer is, and which of the calls of a module that is used more than once.
MODULES = {
    "conv1": "relu",
    "layer1": "layer1",
    "layer2": "layer2",
    "layer3": "layer3",
    "layer4": "layer4",
    "avgpool": "avgpool",
    "logits": "fc",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory, write_random_weights):
    """A folder with the second weights, and the library's network with the same ones."""
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models import resnet50

    folder = tmp_path_factory.mktemp("weights")
    return folder, write_random_weights(folder, SECOND, resnet50())


def official_input(frame, short_side):
    """Short side to 256 or 232, antialiased, rounded; crop 224; mean and standard deviation of ImageNet."""
    import torch

    height, width = frame.shape[:2]
    size = [int(short_side * side / min(height, width)) for side in (height, width)]
    pixels = torch.tensor(frame).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True).round()[0]
    top, left = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    pixels = pixels[:, top : top + 224, left : left + 224] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pixels - mean[:, None, None]) / std[:, None, None]


def test_the_name_of_the_file_decides_on_the_input_and_is_recorded(weights, tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (90, 161, 3), dtype=np.uint8)
    shutil.copy(weights[0] / SECOND, tmp_path / FIRST)
    extractors = {
        "IMAGENET1K_V1": create_extractor("resnet50", weights_dir=str(tmp_path)),
        "IMAGENET1K_V2": create_extractor("resnet50", weights_dir=str(weights[0])),
    }
    # The same bytes under both names: only the input tells the networks apart, and they are not shared.
    for (name, extractor), short_side in zip(extractors.items(), (256, 232), strict=True):
        prepared = extractor._build().prepared(frame)
        np.testing.assert_allclose(prepared.numpy(), official_input(frame, short_side).numpy(), atol=1e-5)
        assert extractor.fingerprint()["preprocessing"] == name
    shutil.copy(weights[0] / SECOND, tmp_path / SECOND)
    both = create_extractor("resnet50", weights_dir=str(tmp_path))
    assert both.fingerprint() == extractors["IMAGENET1K_V2"].fingerprint()


def test_all_layers_equal_the_library_on_the_same_weights_and_frames(weights, moving_film):
    """Bins of 1.2 s, two and a half ticks a second: frames are looked at after 0.2, 0.6, ... s."""
    import torch

    folder, network = weights
    ask = {"hop_s": 1.2, "rate_hz": 2.5, "n_projected": 64}
    parameters = {layer: {"layer": layer, **ask} for layer in MODULES}
    parameters["avgpool"]["n_projected"] = parameters["logits"]["n_projected"] = 0
    parameters |= {
        "mean": {"layer": "layer3", "spatial": "mean", "hop_s": 1.2, "rate_hz": 2.5},
        "shares": {"layer": "logits", "scores": "softmax", "hop_s": 1.2, "rate_hz": 2.5},
    }
    extractors = {
        key: create_extractor("resnet50", given, weights_dir=str(folder)) for key, given in parameters.items()
    }
    series = extract_features(moving_film, extractors)
    assert len({id(extractor._network) for extractor in extractors.values()}) == 1

    info = probe_film(moving_film)
    frames = [frame for _, frame in iterate_frames(info)]
    ticks_s = (np.arange(6) + 0.5) / 2.5
    looked_at = [max(i for i, t in enumerate(info.pts_s) if t <= tick + 1e-6) for tick in ticks_s]
    caught = {}
    for layer, module in MODULES.items():
        # The first ReLU of the network is called once; those inside blocks are modules of their own.
        getattr(network, module).register_forward_hook(
            lambda module, given, output, layer=layer: caught.setdefault(layer, output.clone())
        )
    with torch.no_grad():
        network(torch.stack([official_input(frames[index], 232) for index in looked_at]))
        expected = {layer: caught[layer].numpy().reshape(6, -1) for layer in MODULES}
        expected["mean"] = caught["layer3"].mean(dim=(2, 3)).numpy()
        expected["shares"] = caught["logits"].softmax(dim=1).numpy()
    for layer in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        assert (expected[layer] >= 0).all() and (expected[layer] == 0).any()  # after the ReLU
        matrix = SparseProjection(expected[layer].shape[1], 64).matrix
        expected[layer] = (matrix @ expected[layer].T).T
    for key, one in series.items():
        means = expected[key].astype(float).reshape(2, 3, -1).mean(axis=1)
        np.testing.assert_allclose(one.values, means, atol=2e-4 * np.abs(means).max(), err_msg=key)
        assert one.times_s.tolist() == pytest.approx([0.6, 1.8])
        assert len(set(one.names)) == one.values.shape[1] == len(one.names)
    assert series["logits"].names[:2] == ("tench", "goldfish")
    assert series["avgpool"].names[-1] == "avgpool channel 2047"
    assert series["mean"].names[0] == "layer3 channel 0000"
    assert create_extractor(
        "resnet50", {"layer": "conv1", "spatial": "mean"}, random_weights=True
    ).column_names()[:1] == ("conv1 channel 0000",)


def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingWeightsError) as caught:
        create_extractor("resnet50", weights_dir=str(tmp_path))
    for part in (FIRST, SECOND, str(tmp_path), "https://download.pytorch.org/models/resnet50"):
        assert part in str(caught.value)
    for bad, message in (
        ({"layer": "layer5"}, "layer must be one of conv1, layer1"),
        ({"layer": "layer1", "n_projected": 0}, r"'layer1' has 802816 numbers a window"),
        ({"rate_hz": 1.0}, "rate_hz must be from"),
        ({"layer": "layer4", "scores": "softmax"}, "scores"),
    ):
        with pytest.raises(SettingError, match=message):
            validate_parameters("resnet50", bad)
