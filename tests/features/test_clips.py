"""X3D and Slow: input against the official transforms, stages against the library's own forward pass."""

import math

import numpy as np
import pytest

from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features.clips import ClipExtractor
from cinebold.features.extraction import extract_features
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.features.shared_network import SharedNetwork
from cinebold.video.decoding import iterate_frames, probe_film

FILE = "X3D_XS.pyth"
#: Network, frames, frames of 30 Hz for each, short side and crop, from the pages of torch.hub; of X3D-L see x3d.py.
HUB = (
    ("slowfast_r101", 32, 2, 256),
    ("slow_r50", 8, 8, 256),
    ("x3d_xs", 4, 12, 182),
    ("x3d_s", 13, 6, 182),
    ("x3d_m", 16, 5, 256),
    ("x3d_l", 16, 5, 356),
)


def hub():
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from pytorchvideo.models import hub

    return hub


@pytest.fixture(scope="module")
def weights(tmp_path_factory, write_random_weights):
    """A folder with a file of random weights, and the library's network with the same ones."""
    import torch

    folder = tmp_path_factory.mktemp("weights")
    network = write_random_weights(folder, FILE, hub().x3d_xs(pretrained=False))
    for name, values in network.named_parameters():
        if "norm_c" in name:
            values.data *= (
                0.2  # as in trained networks, blocks change little: else they enlarge errors of rounding
            )
    torch.save(network.state_dict(), folder / FILE)
    return folder, network


def official_input(frames, n_frames, size):
    """All frames of a window at 30 Hz, (n, h, w, 3) uint8, to (1, 3, n_frames, size, size): torchvision's transforms,
    and between them the resize of pytorchvideo's ShortSideScale, which cannot be imported."""
    import torch

    hub()
    from torchvision.transforms._transforms_video import CenterCropVideo, NormalizeVideo

    clip = torch.tensor(frames).permute(3, 0, 1, 2)
    clip = torch.index_select(clip, 1, torch.linspace(0, len(frames) - 1, n_frames).long())
    clip = NormalizeVideo([0.45] * 3, [0.225] * 3)(clip / 255.0)
    height, width = clip.shape[-2:]
    scaled = (
        (math.floor((float(height) / width) * size), size)
        if width < height
        else (size, math.floor((float(width) / height) * size))
    )
    clip = torch.nn.functional.interpolate(clip, size=scaled, mode="bilinear", align_corners=False)
    return CenterCropVideo((size, size))(clip)[None]


@pytest.mark.filterwarnings("ignore:The 'torchvision.transforms._", "ignore:The.*video")
@pytest.mark.parametrize(("name", "n_frames", "step", "size"), HUB)
def test_frames_and_pixels_are_those_of_the_official_transforms(name, n_frames, step, size):
    import torch

    recipe = create_extractor(name, random_weights=True).recipe
    assert recipe.positions.tolist() == torch.linspace(0, n_frames * step - 1, n_frames).long().tolist()
    for shape in ((48, 86), (101, 60)):
        frames = np.random.default_rng(0).integers(0, 256, (n_frames * step, *shape, 3), dtype=np.uint8)
        expected = official_input(frames, n_frames, size)[0, :, -2]
        picture = torch.tensor(frames[recipe.positions[-2]]).permute(2, 0, 1)
        np.testing.assert_allclose(recipe.transform(picture).numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", [name for name, *_ in HUB] + ["slowfast_r50"])
def test_sizes_of_layers_are_those_of_the_network(name):
    import torch

    with torch.device("meta"):
        extractor = create_extractor(name, random_weights=True)
        layers = extractor.layers()
        nodes = [node for layer in layers.values() for node in layer.nodes]
        recipe = extractor.recipe
        batch = torch.empty(1, 3, recipe.n_frames, recipe.crop, recipe.crop)
        found = extractor.reader(extractor.loaded(), nodes)(batch)
    assert tuple(layers) == ("logits", "avgpool", "stem", "res2", "res3", "res4", "res5")
    for layer in layers.values():
        for node, shape in layer.nodes.items():
            assert tuple(found[node].shape[1:]) == shape, node


def windows_of(path, times_s, n_frames=4, step=12, size=182):
    """Official inputs of windows around some times; frames at 30 Hz, the film's ends stand still."""
    info = probe_film(path)
    shown = np.array([frame for _, frame in iterate_frames(info)])
    offsets = np.arange(n_frames * step) - (n_frames * step - 1) / 2
    for time_s in times_s:
        ticks_s = time_s + offsets / 30
        indices = [max([0, *[i for i, t in enumerate(info.pts_s) if t <= tick + 1e-6]]) for tick in ticks_s]
        yield official_input(shown[indices], n_frames, size)


@pytest.mark.filterwarnings("ignore:The 'torchvision.transforms._", "ignore:The.*video")
def test_all_layers_equal_the_library_on_the_same_weights_and_frames(weights, moving_film, monkeypatch):
    import torch

    folder, network = weights
    asked = {
        "logits": {},
        "softmax": {"scores": "softmax"},
        "sigmoid": {"scores": "sigmoid"},
        "avgpool": {"layer": "avgpool"},
        "res2": {"layer": "res2", "spatial": "mean"},
        "res5": {"layer": "res5", "n_projected": 64, "projection_seed": 3},
        "res5 whole": {"layer": "res5", "spatial": "mean"},
    }
    extractors = {
        key: create_extractor("x3d_xs", {"hop_s": 0.8, **given}, weights_dir=str(folder))
        for key, given in asked.items()
    }
    passes = []
    stacked = ClipExtractor.stacked
    monkeypatch.setattr(
        ClipExtractor, "stacked", lambda self, clips: passes.append(len(clips)) or stacked(self, clips)
    )
    series = extract_features(moving_film, extractors)
    assert passes == [3]  # windows, not 21: one pass for all layers

    caught = {}
    head = network.blocks[5]
    modules = {"res2": network.blocks[1], "res5": network.blocks[4], "pool": head.pool, "proj": head.proj}
    handles = [
        module.register_forward_hook(
            lambda module, given, output, name=name: caught.setdefault(name, []).append(output[0].clone())
        )
        for name, module in modules.items()
    ]
    with torch.no_grad():
        own = [network(clip)[0] for clip in windows_of(moving_film, (0.4, 1.2, 2.0))]
    for handle in handles:
        handle.remove()
    layers = {name: torch.stack(outputs) for name, outputs in caught.items()}
    places = layers["proj"]  # (3, 1, 2, 2, 400)
    torch.testing.assert_close(places.softmax(dim=-1).mean(dim=(1, 2, 3)), torch.stack(own))  # its own output
    logits = places.mean(dim=(1, 2, 3))
    projection = SparseProjection(layers["res5"][0].numel(), 64, 3).matrix
    expected = {
        "logits": logits,
        "softmax": logits.softmax(dim=1),
        "sigmoid": logits.sigmoid(),
        "avgpool": layers["pool"].mean(dim=(2, 3, 4)),
        "res2": layers["res2"].mean(dim=(2, 3, 4)),
        "res5": torch.tensor((projection @ layers["res5"].reshape(3, -1).numpy().T).T),
        "res5 whole": layers["res5"].mean(dim=(2, 3, 4)),
    }
    for key, one in series.items():
        scale = expected[key].abs().max().item()
        np.testing.assert_allclose(one.values, expected[key].numpy(), atol=1e-5 * scale, err_msg=key)
        assert one.times_s.tolist() == pytest.approx([0.4, 1.2, 2.0])
        assert len(set(one.names)) == len(one.names) == one.values.shape[1]
    assert series["softmax"].names == series["logits"].names
    assert series["logits"].names[:2] == ("abseiling", "air drumming")
    assert series["avgpool"].names[-1] == "avgpool channel 2047"
    assert series["res2"].names[-1] == "res2 channel 0023"
    assert series["res5"].names[-1] == "res5 projection 0063"


def test_neither_the_threads_nor_the_company_of_a_window_change_a_byte(weights, moving_film, monkeypatch):
    import torch

    before = torch.get_num_threads()
    seen = []
    try:
        for n_threads, batch in ((1, 8), (3, 8), (2, 2)):
            torch.set_num_threads(n_threads)
            monkeypatch.setitem(ClipExtractor.batch, "cpu", batch)
            given = {"hop_s": 0.6, "layer": "avgpool"}
            extractor = create_extractor("x3d_xs", given, weights_dir=str(weights[0]))
            series = extract_features(moving_film, {"a": extractor})["a"]
            assert torch.get_num_threads() == n_threads
            seen.append((series.values.shape, series.values.tobytes()))
    finally:
        torch.set_num_threads(before)
    assert seen[0][0] == (4, 2048)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.filterwarnings("ignore:The 'torchvision.transforms._", "ignore:The.*video")
def test_a_film_shorter_than_a_window_stands_still_at_its_ends(film, weights):
    import torch

    frames = np.random.default_rng(2).integers(0, 256, (5, 18, 32, 3), dtype=np.uint8)
    path = film("short.mkv", frames, fps=25)
    extractor = create_extractor("x3d_xs", {}, weights_dir=str(weights[0]))
    series = extract_features(path, {"a": extractor})["a"]
    (clip,) = windows_of(path, [0.25])
    with torch.no_grad():
        caught = []
        handle = weights[1].blocks[5].proj.register_forward_hook(lambda *given: caught.append(given[2]))
        weights[1](clip)
        handle.remove()
    expected = caught[0].mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(series.values, expected, atol=1e-5 * np.abs(expected).max())
    # 48 frames at 30 Hz around 0.25 s, -0.533, ..., 1.033: six of them, from 0 to 0.167 s, before its end at 0.2 s
    assert series.pad_fraction.tolist() == pytest.approx([42 / 48])


def test_bfloat16_and_the_memory_format_are_near_float32(weights, moving_film):
    """What docs/features.md says of bfloat16, of the spread of a layer and of its changes from window to window."""
    hows = {"exact": {}, "bfloat16": {"precision": "bfloat16"}, "last": {"channels_last": True}}
    extractors = {
        f"{layer} {name}": create_extractor(
            "x3d_xs", {"layer": layer, "spatial": "mean", "hop_s": 0.4, **how}, weights_dir=str(weights[0])
        )
        for layer in ("res3", "avgpool", "logits")
        for name, how in hows.items()
    }
    networks = [extractor._build() for extractor in extractors.values()]
    assert len(set(map(id, networks))) == 3
    series = {key: one.values for key, one in extract_features(moving_film, extractors).items()}
    for layer in ("res3", "avgpool", "logits"):
        exact = series[f"{layer} exact"]
        error = series[f"{layer} bfloat16"] - exact
        assert 1e-5 < error.std() / exact.std() < 0.01
        changes = (error - error.mean(axis=0)).std() / (exact - exact.mean(axis=0)).std()
        assert changes < 0.1
        np.testing.assert_allclose(series[f"{layer} last"], exact, atol=1e-4 * exact.std())


@pytest.mark.slow
def test_a_compiled_network_gives_nearly_the_same(weights, moving_film):
    given = {"hop_s": 0.8, "layer": "res2", "spatial": "mean"}
    values = [
        extract_features(
            moving_film, {"a": create_extractor("x3d_xs", {**given, **how}, weights_dir=str(weights[0]))}
        )["a"].values
        for how in ({}, {"compiled": True})
    ]
    np.testing.assert_allclose(values[1], values[0], atol=1e-5 * np.abs(values[0]).max())


def test_a_network_that_cannot_be_compiled_is_said_in_one_sentence():
    import torch

    from cinebold.features.network_options import NetworkOptions

    def reader(network, nodes):
        def evaluated(batch):
            raise torch._dynamo.exc.Unsupported("no compiler")

        return evaluated

    network = SharedNetwork(
        torch.nn.Identity(), None, "cpu", reader=reader, options=NetworkOptions(compiled=True)
    )
    network._traced = lambda: reader(None, ())
    with pytest.raises(SettingError, match=r"torch\.compile cannot .*no compiler.*leave compiled out"):
        network.read([[torch.zeros(1)]], lambda clips: torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"layer": "res6"}, "layer must be one of logits, avgpool, stem, res2, res3, res4, res5"),
        ({"layer": "res2", "n_projected": 0}, r"'res2' has \d+ numbers a window"),
        ({"layer": "avgpool", "scores": "softmax"}, "scores are those of classes"),
        ({"scores": "probability"}, "scores must be one of logits, softmax, sigmoid"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16"),
        ({"channels_last": "yes"}, "true or false"),
        ({"hop_s": 0}, "hop_s"),
        ({"align": "frame"}, "align"),
        ({"windows": "official"}, "no parameter 'windows'"),
    ],
)
def test_senseless_parameters_are_refused(bad, message):
    for name in ("x3d_xs", "slow_r50", "slowfast_r101"):
        validate_parameters(name, {"layer": "res2", "spatial": "mean", "n_projected": 0})
        with pytest.raises(SettingError, match=f"{name}.*{message}"):
            validate_parameters(name, bad)


def test_the_fingerprint_holds_all_that_the_values_depend_on(weights):
    def fingerprint(name="x3d_xs", **given):
        return create_extractor(name, given, weights_dir=str(weights[0])).fingerprint()

    base = fingerprint()
    assert base["window"] == {"span_s": 1.6, "hop_s": 0.5, "n_samples": 48, "align": "centre", "rate_hz": 30}
    assert not {"scores", "precision", "channels_last", "compiled"} & base["parameters"].keys()
    assert fingerprint(layer="res2")["projection"]["n_outputs"] == 4096
    for other in (
        {"layer": "avgpool"},
        {"hop_s": 1},
        {"align": "end"},
        {"spatial": "mean"},
        {"n_projected": 99},
        {"scores": "softmax"},
        {"precision": "bfloat16"},
        {"channels_last": True},
        {"compiled": True},
    ):
        assert fingerprint(**other) != base


@pytest.mark.parametrize(
    ("name", "checkpoint"),
    [("slowfast_r101", "SLOWFAST_8x8_R101"), ("slow_r50", "SLOW_8x8_R50"), ("x3d_l", "X3D_L")],
)
def test_missing_weights_are_named_as_the_hub_names_them(tmp_path, monkeypatch, name, checkpoint):
    from importlib import import_module

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingWeightsError) as caught:
        create_extractor(name, weights_dir=str(tmp_path))
    hub()
    modules = {"slowfast_r101": "slowfast", "slow_r50": "resnet", "x3d_l": "x3d"}
    url = import_module(f"pytorchvideo.models.hub.{modules[name]}").checkpoint_paths[name]
    assert url.endswith(f"/{checkpoint}.pyth")
    for part in (f"{checkpoint}.pyth", str(tmp_path), url, "--weights-dir"):
        assert part in str(caught.value)


def test_weights_of_another_network_and_those_of_a_checkpoint(weights, tmp_path, moving_film):
    import torch

    state = torch.load(weights[0] / FILE, weights_only=True)
    torch.save({"model_state": state, "epoch": 3}, tmp_path / FILE)
    assert create_extractor("x3d_xs", weights_dir=str(tmp_path)).loaded().blocks[-1].pool is None
    (tmp_path / FILE).rename(tmp_path / "X3D_L.pyth")
    extractor = create_extractor("x3d_l", weights_dir=str(tmp_path))
    with pytest.raises(
        InputError, match=r"X3D_L\.pyth.*not the weights of this network: \d+ entries are missing"
    ):
        extractor.start(probe_film(moving_film))
