"""AlexNet: its input against the recipe, its layers against the library's own forward pass on the same weights."""

import numpy as np
import pytest

from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features.alexnet import LAYERS, AlexNet
from cinebold.features.extraction import extract_features
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.video.decoding import iterate_frames, probe_film

FILE = "alexnet-owt-7be5be79.pth"
#: Positions of the modules whose output a layer is, in the network's two halves.
MODULES = {
    "conv1": ("features", 1),
    "conv2": ("features", 4),
    "conv3": ("features", 7),
    "conv4": ("features", 9),
    "conv5": ("features", 11),
    "fc6": ("classifier", 2),
    "fc7": ("classifier", 5),
    "fc8": ("classifier", 6),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory, write_random_weights):
    """A folder with a file of random weights, and the library's network with the same ones."""
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models import alexnet

    folder = tmp_path_factory.mktemp("weights")
    network = write_random_weights(folder, FILE, alexnet())
    assert (folder / FILE).stat().st_size < 12e6
    return folder, network


def official_input(frame):
    """Short side to 256, antialiased, rounded; crop 224; mean and standard deviation of ImageNet."""
    import torch

    height, width = frame.shape[:2]
    short = min(height, width)
    size = [int(256 * side / short) if side != short else 256 for side in (height, width)]
    pixels = torch.tensor(frame).permute(2, 0, 1)[None].float()
    if [height, width] != size:
        pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True).round()
    pixels = pixels[0]
    top, left = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    pixels = pixels[:, top : top + 224, left : left + 224] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pixels - mean[:, None, None]) / std[:, None, None]


def library_layers(network, frames):
    """Layer -> (n_frames, ...) float32, by hooks on the network's own modules, frame by frame."""
    import torch

    caught = {name: [] for name in MODULES}
    handles = [
        getattr(network, half)[index].register_forward_hook(
            lambda module, given, output, name=name: caught[name].append(output[0].clone())
        )
        for name, (half, index) in MODULES.items()
    ]
    with torch.no_grad():
        for frame in frames:
            network(official_input(frame)[None])
    for handle in handles:
        handle.remove()
    return {name: torch.stack(outputs).numpy() for name, outputs in caught.items()}


@pytest.mark.parametrize("size", [(48, 86), (301, 260), (256, 256)])
def test_prepared_frames_equal_the_recipe_and_nearly_that_of_pictures(weights, size):
    import torch
    from PIL import Image

    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    extractor = AlexNet(AlexNet.check_parameters({}), weights_dir=str(weights[0]))
    network = extractor._build()
    prepared = network.prepared(frame)
    assert prepared.shape == (3, 224, 224)
    assert prepared.dtype == torch.float32
    np.testing.assert_allclose(prepared.numpy(), official_input(frame).numpy(), atol=1e-5)
    of_picture = network._transform(Image.fromarray(frame))
    # Pillow and torch round the resized picture differently, by one step of 255 here and there.
    assert np.abs(prepared.numpy() - of_picture.numpy()).max() < 1.01 / 255 / 0.224


def test_all_layers_equal_the_library_on_the_same_weights_and_frames(weights, moving_film):
    """Bins of 0.8 s, five ticks a second: the film's 60 frames at 25 Hz are looked at after 0.1, 0.3, ... s."""
    folder, network = weights
    ask = {"hop_s": 0.8, "rate_hz": 5}
    parameters = {name: {"layer": name, "n_projected": 64, **ask} for name in MODULES}
    parameters["fc8"]["n_projected"] = 0
    parameters |= {
        "mean": {"layer": "conv2", "spatial": "mean", **ask},
        "raw": {"layer": "conv5", "log": False, "n_projected": 64, **ask},
        "fc7 whole": {"layer": "fc7", "n_projected": 4096, **ask},
    }
    extractors = {
        key: create_extractor("alexnet", given, weights_dir=str(folder)) for key, given in parameters.items()
    }
    series = extract_features(moving_film, extractors)

    info = probe_film(moving_film)
    frames = np.array([frame for _, frame in iterate_frames(info)])
    ticks_s = (np.arange(12) + 0.5) / 5
    looked_at = [max(i for i, t in enumerate(info.pts_s) if t <= tick + 1e-6) for tick in ticks_s]
    layers = library_layers(network, frames[looked_at])
    logs = {name: np.log10(layers[name] + 0.01) for name in MODULES if name != "fc8"}
    assert all((layers[name] >= 0).all() and (layers[name] == 0).any() for name in logs)  # after the ReLU
    assert (layers["fc8"] < 0).any()
    projection = {name: SparseProjection(layers[name][0].size, 64).matrix for name in logs}
    expected = {name: (projection[name] @ logs[name].reshape(12, -1).T).T for name in logs}
    expected |= {
        "fc8": layers["fc8"],
        "mean": logs["conv2"].mean(axis=(2, 3)),
        "raw": (projection["conv5"] @ layers["conv5"].reshape(12, -1).T).T,
        "fc7 whole": logs["fc7"],
    }
    for key, one in series.items():
        # Three bins of 0.8 s with four ticks each.
        means = expected[key].astype(float).reshape(3, 4, -1).mean(axis=1)
        assert one.values.dtype == np.float32
        np.testing.assert_allclose(one.values, means, atol=2e-4 * np.abs(means).max(), err_msg=key)
        assert one.times_s.tolist() == pytest.approx([0.4, 1.2, 2.0])
        assert len(set(one.names)) == one.values.shape[1] == len(one.names)
        assert one.provenance["random_weights"] is False
    assert series["fc8"].names[:2] == ("tench", "goldfish")
    assert series["conv1"].names[-1] == "conv1 projection 0063"
    assert series["mean"].names[-1] == "conv2 channel 0191"
    assert series["fc7 whole"].names[-1] == "fc7 unit 4095"


def test_layers_share_one_network_and_one_pass_and_are_the_same_alone(weights, moving_film, monkeypatch):
    passes = []
    stacked = AlexNet.stacked
    monkeypatch.setattr(
        AlexNet, "stacked", lambda self, clips: passes.append(len(clips)) or stacked(self, clips)
    )
    ask = {"n_projected": 32, "rate_hz": 5, "spatial": "full"}
    extractors = {
        layer: create_extractor("alexnet", {"layer": layer, **ask}, weights_dir=str(weights[0]))
        for layer in ("conv1", "conv4", "conv5")
    }
    together = extract_features(moving_film, extractors)
    assert passes == [12]  # not 36 frames
    assert len({id(extractor._network) for extractor in extractors.values()}) == 1
    for layer in extractors:
        alone = create_extractor("alexnet", {"layer": layer, **ask}, weights_dir=str(weights[0]))
        series = extract_features(moving_film, {"one": alone})["one"]
        assert series.values.tobytes() == together[layer].values.tobytes()


def test_the_number_of_threads_changes_no_byte(weights, moving_film):
    import torch

    before = torch.get_num_threads()
    seen = []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            extractors = {
                name: create_extractor(name, given, weights_dir=folder, random_weights=folder is None)
                for name, given, folder in (
                    ("alexnet", {"layer": "fc7", "hop_s": 0.4}, str(weights[0])),
                    ("s3d", {"layer": "features.3", "frames": 14, "hop_s": 0.8, "spatial": "mean"}, None),
                )
            }
            series = extract_features(moving_film, extractors)
            assert torch.get_num_threads() == n_threads
            seen.append({name: one.values.tobytes() for name, one in series.items()})
    finally:
        torch.set_num_threads(before)
    assert seen[0] == seen[1]


def test_sizes_of_layers_are_those_of_the_network():
    import torch

    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models import alexnet
    from torchvision.models.feature_extraction import create_feature_extractor

    with torch.device("meta"):
        nodes = {node: node for layer in LAYERS.values() for node in layer.nodes}
        shapes = create_feature_extractor(alexnet().eval(), nodes)(torch.empty(1, 3, 224, 224))
    for layer in LAYERS.values():
        for node, shape in layer.nodes.items():
            assert tuple(shapes[node].shape[1:]) == shape
    assert LAYERS["conv1"].n_features("full") == 193_600


def test_a_layer_too_large_to_keep_is_refused_before_anything_is_read():
    for fine in (
        {"layer": "conv1", "spatial": "mean", "n_projected": 0},
        {"layer": "fc6", "n_projected": 0},
        {},
    ):
        validate_parameters("alexnet", fine)
    with pytest.raises(SettingError, match=r"'conv3' has 64896 numbers.*n_projected \(for example 4096\)"):
        validate_parameters("alexnet", {"layer": "conv3", "n_projected": 0})


@pytest.mark.parametrize(
    "bad",
    [
        {"layer": "conv6"},
        {"log": "yes"},
        {"log": 1},
        {"rate_hz": 1},
        {"hop_s": 0},
        {"spatial": "max"},
        {"n_projected": 3},
        {"projection_seed": -1},
        {"n_projected": 300_000},
    ],
)
def test_senseless_parameters_are_refused(bad):
    with pytest.raises(SettingError, match="alexnet"):
        validate_parameters("alexnet", bad)


def test_the_fingerprint_holds_all_that_the_values_depend_on(weights):
    def fingerprint(**given):
        return create_extractor("alexnet", given, weights_dir=str(weights[0])).fingerprint()

    base = fingerprint()
    assert len(base["weights_sha256"]) == 64
    assert base["transform"] == "log10(x + 0.01)"
    assert base["projection"]["n_outputs"] == 4096
    assert fingerprint(layer="fc8")["transform"] == "none"
    assert fingerprint(layer="fc6")["projection"] is None
    for other in ({"log": False}, {"hop_s": 1}, {"rate_hz": 5}, {"n_projected": 99}, {"projection_seed": 1}):
        assert fingerprint(**other) != base
    assert create_extractor("alexnet", random_weights=True, seed=3).fingerprint()["seed"] == 3


def test_missing_and_wrong_weights_are_named(tmp_path, monkeypatch, moving_film):
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingWeightsError) as caught:
        create_extractor("alexnet", weights_dir=str(tmp_path))
    for part in (FILE, str(tmp_path), "https://download.pytorch.org/models/alexnet-owt", "--weights-dir"):
        assert part in str(caught.value)
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / FILE)
    extractor = create_extractor("alexnet", weights_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"owt-7be5be79\.pth.*15 entries are missing"):
        extractor.start(probe_film(moving_film))
