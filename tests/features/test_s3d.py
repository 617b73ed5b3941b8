"""S3D: windows against planted frames, layers against the library's own forward pass on the same weights."""

import numpy as np
import pytest

from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features.extraction import extract_features
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.features.s3d import S3D, layers_of
from cinebold.video.decoding import iterate_frames, probe_film

FILE = "s3d-d76dad2f.pth"
#: The seven nodes that BERG's fmri-bmd-s3d reads, in its order.
BERG_NODES = (
    "features.2", "features.5.cat", "features.7", "features.9.cat", "features.11.cat", "features.13", "avgpool",
)  # fmt: skip


def library():
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models.video import s3d

    return s3d()


@pytest.fixture(scope="module")
def weights(tmp_path_factory, write_random_weights):
    """A folder with a file of random weights, and the library's network with the same ones."""
    folder = tmp_path_factory.mktemp("weights")
    return folder, write_random_weights(folder, FILE, library())


def official_input(frames):
    """torchvision's transform of a whole clip, (n, h, w, 3) uint8: (1, 3, n, 224, 224)."""
    import torch
    from torchvision.models.video import S3D_Weights

    return S3D_Weights.KINETICS400_V1.transforms()(torch.tensor(frames).permute(0, 3, 1, 2))[None]


def decoded(path):
    return np.array([frame for _, frame in iterate_frames(probe_film(path))])


def test_prepared_frames_equal_the_recipe_written_out(weights):
    import torch

    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    network = create_extractor("s3d", weights_dir=str(weights[0]))._build()
    pixels = torch.tensor(frame).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(pixels, size=(256, 256), mode="bilinear", align_corners=False)
    pixels = pixels.round()[0, :, 16:240, 16:240] / 255
    mean, std = torch.tensor([0.43216, 0.394666, 0.37645]), torch.tensor([0.22803, 0.22145, 0.216989])
    expected = (pixels - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(network.prepared(frame).numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("n_frames", [14, 15, 30, 33])
def test_sizes_of_layers_are_those_of_the_network(n_frames):
    import torch

    network = library().eval()
    from torchvision.models.feature_extraction import create_feature_extractor

    layers = layers_of(n_frames)
    nodes = {node: node for layer in layers.values() for node in layer.nodes}
    with torch.device("meta"):
        shapes = create_feature_extractor(network.to("meta"), nodes)(torch.empty(1, 3, n_frames, 224, 224))
    for layer in layers.values():
        for node, shape in layer.nodes.items():
            assert tuple(shapes[node].shape[1:]) == shape
    if n_frames == 14:
        assert layers["bmd"].n_features("full") == 4_084_096  # BERG's number


def test_a_whole_clip_gives_the_features_of_bmd(weights, moving_film):
    """Fourteen frames from the first to the last; seven nodes flattened one after the other; then projected."""
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    folder, network = weights
    ask = {"frames": 14, "whole_clip": True, "n_projected": 50}
    parameters = {
        "bmd": {"layer": "bmd", **ask},
        "means": {"layer": "bmd", "spatial": "mean", "frames": 14, "whole_clip": True},
        "seeded": {"layer": "bmd", "projection_seed": 3, **ask},
        "one": {"layer": "features.13", **ask},
        "avgpool": {"layer": "avgpool", "frames": 14, "whole_clip": True},
        "logits": {"layer": "logits", "frames": 14, "whole_clip": True},
    }
    extractors = {
        key: create_extractor("s3d", given, weights_dir=str(folder)) for key, given in parameters.items()
    }
    series = extract_features(moving_film, extractors)

    frames = decoded(moving_film)
    clip = official_input(frames[np.linspace(0, len(frames) - 1, 14, dtype=int)])
    reader = create_feature_extractor(network, list(BERG_NODES))
    with torch.no_grad():
        activations = {name: values.numpy() for name, values in reader(clip).items()}
        logits = network(clip).numpy()
    stacked = np.hstack([activations[name].reshape(1, -1) for name in BERG_NODES])
    assert stacked.shape == (1, 4_084_096)
    expected = {
        "bmd": (SparseProjection(4_084_096, 50).matrix @ stacked[0])[None],
        "seeded": (SparseProjection(4_084_096, 50, 3).matrix @ stacked[0])[None],
        "means": np.hstack([activations[name].mean(axis=(2, 3, 4)) for name in BERG_NODES]),
        "one": (SparseProjection(81_536, 50).matrix @ activations["features.13"].reshape(-1))[None],
        "avgpool": activations["avgpool"].reshape(1, 1024),
        "logits": logits,
    }
    for key, one in series.items():
        np.testing.assert_allclose(
            one.values, expected[key], atol=2e-4 * np.abs(expected[key]).max(), err_msg=key
        )
        assert one.times_s.tolist() == [1.2]
        assert one.pad_fraction.tolist() == [0]
        assert len(set(one.names)) == len(one.names) == one.values.shape[1]
    assert series["logits"].names[:2] == ("abseiling", "air drumming")
    assert series["means"].names[64] == "features.5.cat channel 0000"
    assert series["bmd"].names[0] == "bmd projection 0000"


class Recorder:
    """Stands for the network; remembers its inputs."""

    def __init__(self):
        self.inputs = []

    def __call__(self, clips):
        self.inputs.append(clips.clone())
        return {"classifier": clips.mean(dim=(2, 3, 4), keepdim=True).repeat(1, 134, 1, 1, 1)[:, :400]}


@pytest.fixture
def recorder(monkeypatch):
    """With one thread, so that windows come in their order."""
    import torch

    from cinebold.features import nodes

    network = Recorder()
    monkeypatch.setattr(nodes.SharedNetwork, "_traced", lambda self: network)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield network
    torch.set_num_threads(before)


@pytest.mark.parametrize(("align", "first"), [("centre", -7.5), ("end", -15.0), ("start", 0.0)])
def test_windows_hold_the_frames_on_display(film, recorder, align, first):
    """Sixteen frames at 8 Hz around 0.5, 1.5, 2.5 s of a film of 24 frames a second; its ends stand still."""
    frames = np.random.default_rng(1).integers(0, 256, (72, 18, 32, 3), dtype=np.uint8)
    path = film("a.mkv", frames, fps=24)
    given = {"span_s": 2.0, "frames": 16, "hop_s": 1.0, "align": align}
    series = extract_features(path, {"a": create_extractor("s3d", given, random_weights=True)})["a"]
    assert series.times_s.tolist() == [0.5, 1.5, 2.5]
    shown, pts_s = decoded(path), probe_film(path).pts_s
    assert [len(clips) for clips in recorder.inputs] == [1, 1, 1]  # a thread each
    for window, centre_s in enumerate(series.times_s):
        ticks_s = centre_s + (first + np.arange(16)) / 8
        indices = [max([0, *[i for i, t in enumerate(pts_s) if t <= tick + 1e-6]]) for tick in ticks_s]
        expected = official_input(shown[indices])[0]
        np.testing.assert_allclose(recorder.inputs[window][0].numpy(), expected.numpy(), atol=1e-6)
        outside = np.mean((ticks_s < -1e-6) | (ticks_s >= 3 - 1e-6))
        assert series.pad_fraction[window] == pytest.approx(outside)


def test_windows_of_equal_frames_and_other_lengths_are_not_taken_for_each_other(film, recorder):
    """Two windows of 14 frames and one of 28, side by side, hold the same frames in the same order."""
    frames = np.random.default_rng(5).integers(0, 256, (28, 18, 32, 3), dtype=np.uint8)
    path = film("a.mkv", frames, fps=14)
    given = {"hop_s": 1.0, "span_s": 1.0, "frames": 14}
    extractors = {
        "two": create_extractor("s3d", given, random_weights=True),
        "one": create_extractor("s3d", {"whole_clip": True, "frames": 28}, random_weights=True),
    }
    together = extract_features(path, extractors)
    assert {key: len(one.values) for key, one in together.items()} == {"two": 2, "one": 1}
    assert [clips.shape[2] for clips in recorder.inputs] == [14, 14, 28]


def test_a_clip_of_few_frames_repeats_its_last(film, recorder):
    frames = np.random.default_rng(2).integers(0, 256, (5, 18, 32, 3), dtype=np.uint8)
    path = film("short.mkv", frames, fps=24)
    given = {"frames": 14, "whole_clip": True}
    series = extract_features(path, {"a": create_extractor("s3d", given, random_weights=True)})["a"]
    expected = official_input(decoded(path)[[0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]])
    np.testing.assert_allclose(recorder.inputs[0].numpy(), expected.numpy(), atol=1e-6)
    assert series.values.shape == (1, 400)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"layer": "bmd", "n_projected": 0}, r"'bmd' has \d+ numbers a window.*n_projected"),
        ({"layer": "features.5"}, "layer must be one of"),
        ({"frames": 13}, "at least 14"),
        ({"align": "frame"}, "align"),
        ({"whole_clip": "yes"}, "true or false"),
        ({"span_s": 0}, "span_s"),
        ({"spatial": "max"}, "spatial"),
    ],
)
def test_senseless_parameters_are_refused(bad, message):
    validate_parameters("s3d", {"layer": "bmd", "spatial": "mean", "n_projected": 0})
    with pytest.raises(SettingError, match=message):
        validate_parameters("s3d", bad)


def test_the_fingerprint_holds_all_that_the_values_depend_on(weights):
    def fingerprint(**given):
        return create_extractor("s3d", {"layer": "bmd", **given}, weights_dir=str(weights[0])).fingerprint()

    base = fingerprint()
    assert base["projection"] == {
        "rule": "sparse, 4 entries a column",
        "n_inputs": layers_of(30)["bmd"].n_features("full"),
        "n_outputs": 4096,
        "seed": 0,
    }
    assert fingerprint(whole_clip=True)["window"] == {"rule": "whole clip", "n_samples": 30}
    for other in (
        {"layer": "features.2"},
        {"frames": 14},
        {"span_s": 3.0},
        {"hop_s": 0.25},
        {"align": "end"},
        {"n_projected": 99},
        {"projection_seed": 1},
        {"spatial": "mean"},
    ):
        assert fingerprint(**other) != base


def test_missing_and_wrong_weights_are_named(tmp_path, monkeypatch, moving_film, weights):
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingWeightsError) as caught:
        create_extractor("s3d", weights_dir=str(tmp_path))
    for part in (FILE, str(tmp_path), "https://download.pytorch.org/models/s3d", "--weights-dir"):
        assert part in str(caught.value)
    state = torch.load(weights[0] / FILE, weights_only=True)
    state["classifier.1.bias"] = state["classifier.1.bias"][:7]
    torch.save(state, tmp_path / FILE)
    extractor = create_extractor("s3d", weights_dir=str(tmp_path))
    assert isinstance(extractor, S3D)
    with pytest.raises(InputError, match=r"expected classifier\.1\.bias of shape \(400,\), found \(7,\)"):
        extractor.start(probe_film(moving_film))
