"""SlowFast: its input against the official recipe written out, its output against the network called directly."""

import math
from fractions import Fraction

import numpy as np
import pytest

from cinebold.design.alignment import to_volumes, volume_times_s
from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features import slowfast
from cinebold.features.extraction import extract_features
from cinebold.features.network import class_names
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.features.slowfast import FAST, RECIPE, SLOW, transform_of_2021
from cinebold.files import content_sha256
from cinebold.video.decoding import iterate_frames, probe_film


def official_input(frames):
    """pytorchvideo's torch.hub recipe on 64 frames, (64, h, w, 3) uint8: slow and fast, (1, 3, t, 256, 256)."""
    import torch

    clip = torch.as_tensor(frames).permute(3, 0, 1, 2)  # (3, 64, h, w)
    clip = torch.index_select(clip, 1, torch.linspace(0, 63, 32).long())
    clip = clip / 255.0
    clip = (clip - torch.full((3, 1, 1, 1), 0.45)) / torch.full((3, 1, 1, 1), 0.225)
    height, width = clip.shape[-2:]
    if width < height:
        size = (math.floor((float(height) / width) * 256), 256)
    else:
        size = (256, math.floor((float(width) / height) * 256))
    clip = torch.nn.functional.interpolate(clip, size=size, mode="bilinear", align_corners=False)
    top, left = round((size[0] - 256) / 2.0), round((size[1] - 256) / 2.0)
    fast = clip[:, :, top : top + 256, left : left + 256]
    slow = torch.index_select(fast, 1, torch.linspace(0, 31, 8).long())
    return slow[None], fast[None]


def library(seed):
    """pytorchvideo's network, with weights drawn from a seed."""
    import torch

    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from pytorchvideo.models.hub import slowfast_r50

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return slowfast_r50(pretrained=False).eval()


def test_frame_positions_are_the_official_ones():
    assert FAST.tolist() == [*range(0, 62, 2), 63]
    assert SLOW.tolist() == [0, 4, 8, 13, 17, 22, 26, 31]


@pytest.mark.parametrize("size", [(48, 86), (101, 60), (256, 256), (300, 301)])
def test_prepared_frames_equal_the_recipe(size):
    import torch

    frames = np.random.default_rng(0).integers(0, 256, (64, *size, 3), dtype=np.uint8)
    _, fast = official_input(frames)
    for position in (0, 30, 31):
        prepared = RECIPE.transform(torch.tensor(frames[FAST[position]]).permute(2, 0, 1))
        np.testing.assert_allclose(prepared.numpy(), fast[0, :, position].numpy(), atol=1e-6)


class Recorder:
    """Stands for the network; remembers what its first block gets. Its classes are the mean colours, repeated."""

    def __init__(self, remember):
        self.inputs = []
        self.blocks = [lambda pathways: self.first(pathways, remember), *[lambda x: x] * 5, self.classes]

    def first(self, pathways, remember):
        self.inputs.append([remember(pathway).clone() for pathway in pathways])
        return pathways

    def classes(self, pathways):
        return pathways[1].mean(dim=(2, 3, 4)).repeat(1, 134)[:, :400]

    def to(self, device):
        return self


@pytest.fixture
def recorder(monkeypatch):
    """With one thread, so that windows come in their order."""
    import torch

    def use(remember=lambda pathway: pathway):
        network = Recorder(remember)
        monkeypatch.setattr(slowfast.SlowFastR50, "loaded", lambda self: network)
        return network

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield use
    torch.set_num_threads(before)


@pytest.mark.parametrize(("align", "first"), [("centre", -16.5), ("end", -48.0), ("start", 15.0)])
def test_windows_hold_the_frames_on_display(film, recorder, monkeypatch, align, first):
    """A film of 24 frames per second, window at 0.5, 1.5, 2.5 s, in batches of two; the edges are repeated."""
    monkeypatch.setitem(slowfast.BATCH, "cpu", 2)
    network = recorder()
    frames = np.random.default_rng(1).integers(0, 256, (72, 18, 32, 3), dtype=np.uint8)
    path = film("a.mkv", frames, fps=24)
    extractor = create_extractor("slowfast_r50", {"align": align, "hop_s": 1.0}, random_weights=True)
    series = extract_features(path, {"a": extractor})["a"]
    info = probe_film(path)
    shown = np.array([frame for _, frame in iterate_frames(info)])
    inputs = [np.concatenate([batch[p].numpy() for batch in network.inputs]) for p in (0, 1)]
    assert inputs[0].shape == (3, 3, 8, 256, 256)
    assert inputs[1].shape == (3, 3, 32, 256, 256)
    for window, centre_s in enumerate([0.5, 1.5, 2.5]):
        ticks_s = (30 * centre_s - 15 + first + np.arange(64)) / 30
        indices = [max([0, *[i for i, t in enumerate(info.pts_s) if t <= tick + 1e-6]]) for tick in ticks_s]
        slow, fast = official_input(shown[indices])
        np.testing.assert_allclose(inputs[0][window], slow[0].numpy(), atol=1e-6)
        np.testing.assert_allclose(inputs[1][window], fast[0].numpy(), atol=1e-6)
        outside = np.mean((ticks_s < -1e-6) | (ticks_s >= 3 - 1e-6))
        assert series.pad_fraction[window] == pytest.approx(outside)
    assert series.times_s.tolist() == [0.5, 1.5, 2.5]


@pytest.mark.slow
def test_random_weights_give_what_the_network_gives(moving_film):
    import torch

    asked = {
        "logits": {},
        "avgpool": {"layer": "avgpool"},
        "res4": {"layer": "res4", "spatial": "mean"},
        "stem": {"layer": "stem", "n_projected": 16},
    }
    extractors = {
        key: create_extractor("slowfast_r50", {"hop_s": 2.4, **given}, random_weights=True, seed=5)
        for key, given in asked.items()
    }
    series = extract_features(moving_film, extractors)
    info = probe_film(moving_film)
    frames = np.array([frame for _, frame in iterate_frames(info)])
    ticks_s = 1.2 + (np.arange(64) - 31.5) / 30
    pathways = official_input(frames[np.clip(np.floor(ticks_s * 25 + 1e-6).astype(int), 0, 59)])
    network = library(5)
    head_pool = []
    network.blocks[5].register_forward_hook(lambda block, given, output: head_pool.append(output))
    stages = {}
    for stage, block in (("stem", 0), ("res4", 3)):
        for pathway, part in enumerate(network.blocks[block].multipathway_blocks):
            part.register_forward_hook(
                lambda part, given, output, key=(stage, pathway): stages.update({key: output.clone()})
            )
    with torch.no_grad():
        direct = network(list(pathways)).numpy()
    res4 = torch.cat([stages["res4", pathway].mean(dim=(2, 3, 4)) for pathway in (0, 1)], dim=1).numpy()
    stem = torch.cat([stages["stem", pathway].flatten() for pathway in (0, 1)]).numpy()
    np.testing.assert_allclose(series["res4"].values, res4, rtol=1e-4, atol=1e-5)
    projected = SparseProjection(len(stem), 16).matrix @ stem
    np.testing.assert_allclose(series["stem"].values[0], projected, atol=1e-4 * np.abs(projected).max())
    assert series["res4"].names[1023:1025] == ("res4 slow channel 1023", "res4 fast channel 0000")
    assert head_pool[0].shape == (1, 2304, 1, 2, 2)
    pooled = head_pool[0].mean(dim=(2, 3, 4)).numpy()
    np.testing.assert_allclose(series["logits"].values, direct, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(series["avgpool"].values, pooled, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(part, torch.nn.Softmax) for part in network.modules())
    assert series["logits"].names[:2] == ("abseiling", "air drumming")
    assert series["avgpool"].values.shape == (1, 2304)
    assert len(set(series["avgpool"].names)) == 2304
    assert series["logits"].provenance["random_weights"] is True


def test_kinetics_names_are_those_of_the_label_table(shared_data):
    tables = [path for path in (shared_data / "kinetics_loadings").glob("*.csv") if "label" in path.name]
    if not tables:
        pytest.skip("no table of labels among the real data")
    import csv

    with open(tables[0], newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == list(class_names("KINETICS400"))


def test_missing_weights_say_what_was_looked_for_and_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingWeightsError) as caught:
        create_extractor("slowfast_r50", weights_dir=str(tmp_path))
    for part in (
        "SLOWFAST_8x8_R50.pyth",
        str(tmp_path),
        str(tmp_path / "torch" / "hub" / "checkpoints"),
        "https://dl.fbaipublicfiles.com/",
        "--weights-dir",
    ):
        assert part in str(caught.value)
    with pytest.raises(SettingError, match="does not exist"):
        create_extractor("slowfast_r50", weights_dir=str(tmp_path / "none"))


@pytest.mark.parametrize("bad", [{"layer": "softmax"}, {"hop_s": -1}, {"align": "middle"}, {"size": 224}])
def test_parameters_are_checked_without_weights(bad):
    validate_parameters("slowfast_r50", {"layer": "avgpool"})
    with pytest.raises(SettingError):
        validate_parameters("slowfast_r50", bad)


def test_the_file_and_the_seed_are_in_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "slowfast_r50.pth").write_bytes(b"one")
    one = create_extractor("slowfast_r50", weights_dir=str(tmp_path)).fingerprint()
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (tmp_path / "slowfast_r50.pth").rename(checkpoints / "SLOWFAST_8x8_R50.pyth")
    assert create_extractor("slowfast_r50").fingerprint() == one  # the content counts, not the name
    assert create_extractor("slowfast_r50", random_weights=True, seed=1).fingerprint()["seed"] == 1
    (checkpoints / "SLOWFAST_8x8_R50.pyth").write_bytes(b"two")
    assert create_extractor("slowfast_r50").fingerprint() != one


def test_a_gpu_that_is_not_there(moving_film):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    extractor = create_extractor("slowfast_r50", device="cuda", random_weights=True)
    with pytest.raises(SettingError, match="no GPU"):
        extractor.start(probe_film(moving_film))


def test_wrong_weights_are_refused(tmp_path, monkeypatch, moving_film):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "SLOWFAST_8x8_R50.pyth").write_bytes(b"not a checkpoint")
    extractor = create_extractor("slowfast_r50", weights_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"SLOWFAST_8x8_R50\.pyth.*cannot be read"):
        extractor.start(probe_film(moving_film))


def prepared_in_2021(frame):
    """Scaled to 365 x 258 as ffmpeg's scale filter does it, cropped at its place, normalised."""
    import av
    import torch

    graph = av.filter.Graph()
    height, width = frame.shape[:2]
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, 24))
    scale, sink = graph.add("scale", "365:258:flags=bicubic"), graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(sink)
    graph.configure()
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    picture.pts, picture.time_base = 0, Fraction(1, 24)
    graph.push(picture)
    pixels = torch.tensor(graph.pull().to_ndarray(format="rgb24")[:256, 54:310]).float() / 255
    return ((pixels - 0.45) / 0.225).permute(2, 0, 1)


def test_windows_of_2021_hold_consecutive_frames_between_zeros(film, recorder):
    """Around each frame i the frames i - 36, ..., i + 35; zeros where the film has none; every fourth or so of them."""
    import torch

    places = slice(None, None, 37)  # a few pixels tell one frame from another
    inputs = recorder(lambda pathway: pathway[..., places, places]).inputs
    n_frames = 41
    frames = np.random.default_rng(3).integers(0, 256, (n_frames, 18, 32, 3), dtype=np.uint8)
    path = film("a.mkv", frames, fps=24)
    extractor = create_extractor("slowfast_r50", {"windows": "neurohackademy2021"}, random_weights=True)
    series = extract_features(path, {"a": extractor})["a"]
    shown = [frame for _, frame in iterate_frames(probe_film(path))]
    prepared = [prepared_in_2021(frame)[..., places, places] for frame in shown]
    assert len(inputs) == n_frames == len(series.times_s)
    for window, (slow, fast) in enumerate(inputs):
        assert (slow.shape[:3], fast.shape[:3]) == ((1, 3, 18), (1, 3, 72))
        expected = torch.zeros(fast.shape[1:])
        for position, index in enumerate(range(window - 36, window + 36)):
            if 0 <= index < n_frames:
                expected[:, position] = prepared[index]
        np.testing.assert_allclose(fast[0].numpy(), expected.numpy(), atol=1e-6)
        taken = torch.linspace(0, 71, 18).long()
        np.testing.assert_allclose(slow[0].numpy(), expected[:, taken].numpy(), atol=1e-6)
        n_inside = sum(0 <= index < n_frames for index in range(window - 36, window + 36))
        assert series.pad_fraction[window] == pytest.approx(1 - n_inside / 72)
    np.testing.assert_allclose(series.times_s, (np.arange(n_frames) + 0.5) / 24)


def test_the_scaler_is_bicubic():
    """Against Pillow's: other roundings, the same picture."""
    import torch
    from PIL import Image

    y, x = np.mgrid[:720, :1024]
    frame = np.stack([127 + 100 * np.sin(x / (9 + k)) * np.cos(y / (13 - k)) for k in range(3)], axis=-1)
    frame = frame.astype(np.uint8)
    expected = np.asarray(Image.fromarray(frame).resize((365, 258), Image.Resampling.BICUBIC))[:256, 54:310]
    ours = transform_of_2021(torch.tensor(frame).permute(2, 0, 1)).permute(1, 2, 0).numpy() * 0.225 + 0.45
    assert ours.shape == (256, 256, 3)
    assert np.abs(ours * 255 - expected).mean() < 0.5
    assert np.abs(ours * 255 - expected).max() < 6


@pytest.mark.parametrize("n_frames", [24 * 5, 24 * 5 + 7])
def test_boxes_of_one_second_are_the_block_means_of_24_frames(n_frames):
    rule = create_extractor(
        "slowfast_r50", {"windows": "neurohackademy2021"}, random_weights=True
    ).window_rule()
    times_s = rule.times(n_frames / 24)
    assert len(times_s) == n_frames
    values = np.random.default_rng(0).normal(size=(n_frames, 3))
    blocks = values[:120].reshape(5, 24, 3).mean(axis=1)
    for start_time_s in (None, 0.5):
        volumes = to_volumes(values, times_s, volume_times_s(5, 1.0, start_time_s), 1.0, "box")
        np.testing.assert_allclose(volumes, blocks, atol=1e-12)


@pytest.mark.parametrize("given", [{"hop_s": 1.0}, {"align": "centre"}, {"hop_s": 2 / 24}])
def test_the_windows_of_2021_have_their_own_hop_and_alignment(given):
    validate_parameters("slowfast_r50", {"windows": "neurohackademy2021", "layer": "avgpool"})
    with pytest.raises(SettingError, match="fixed at 1/24 s and 'frame'"):
        validate_parameters("slowfast_r50", {"windows": "neurohackademy2021", **given})
    for bad in ({"windows": "2021"}, {"align": "frame"}):
        with pytest.raises(SettingError):
            validate_parameters("slowfast_r50", bad)


def test_features_that_were_stored_before_stay_valid():
    """Keys of two extractors, from the version before the windows of 2021 were added."""
    keys = {
        "ded924d9e03f5ecc106e7725a65ac0251394fb21a04f7f23c0cb0d597b7e7d30": {"hop_s": 1.0},
        "4ff67968b5358b02363faebc43bbb8053eba6c1ee5e43291885bfdd9dd6387df": {
            "layer": "avgpool",
            "hop_s": 0.5,
            "align": "end",
        },
    }
    for key, given in keys.items():
        extractor = create_extractor("slowfast_r50", given, random_weights=True, seed=3)
        assert content_sha256(extractor.fingerprint()) == key
    of_2021 = create_extractor("slowfast_r50", {"windows": "neurohackademy2021"}, random_weights=True, seed=3)
    assert of_2021.fingerprint()["window"]["outside"] == "zeros"


@pytest.mark.slow
def test_the_head_of_2021_pools_over_all_frames(film):
    """One window of a film of one frame: 71 frames of zeros, and the frame in the middle."""
    import torch

    path = film("one.mkv", np.random.default_rng(4).integers(0, 256, (1, 18, 32, 3), dtype=np.uint8), fps=24)
    extractor = create_extractor(
        "slowfast_r50", {"windows": "neurohackademy2021"}, random_weights=True, seed=5
    )
    series = extract_features(path, {"a": extractor})["a"]
    (frame,) = [frame for _, frame in iterate_frames(probe_film(path))]
    fast = torch.zeros(1, 3, 72, 256, 256)
    fast[0, :, 36] = prepared_in_2021(frame)
    network = library(5)
    with torch.no_grad():
        pathways = [fast[:, :, torch.linspace(0, 71, 18).long()], fast]
        for block in network.blocks[:5]:
            pathways = block(pathways)
        # Means over time and over 7 x 7 of 8 x 8 places at stride 1, then over the four of these.
        pooled = [
            torch.stack(
                [p[..., r : r + 7, c : c + 7].mean(dim=(2, 3, 4)) for r in (0, 1) for c in (0, 1)]
            ).mean(0)
            for p in pathways
        ]
        expected = network.blocks[6].proj(torch.cat(pooled, dim=1))
    np.testing.assert_allclose(series.values, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert series.pad_fraction.tolist() == pytest.approx([71 / 72])
