"""SlowFast: its input against the official recipe written out, its output against the network called directly."""

import math

import numpy as np
import pytest

from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features import slowfast
from cinebold.features.extraction import extract_features
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.features.slowfast import FAST, SLOW, build_slowfast_r50, prepare_frame
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


def test_frame_positions_are_the_official_ones():
    assert FAST.tolist() == [*range(0, 62, 2), 63]
    assert SLOW.tolist() == [0, 4, 8, 13, 17, 22, 26, 31]


@pytest.mark.parametrize("size", [(48, 86), (101, 60), (256, 256), (300, 301)])
def test_prepared_frames_equal_the_recipe(size):
    frames = np.random.default_rng(0).integers(0, 256, (64, *size, 3), dtype=np.uint8)
    _, fast = official_input(frames)
    for position in (0, 30, 31):
        prepared = prepare_frame(frames[FAST[position]])
        np.testing.assert_allclose(prepared.numpy(), fast[0, :, position].numpy(), atol=1e-6)


class Recorder:
    """Stands for the network; remembers its inputs."""

    def __init__(self):
        self.inputs = []

    def __call__(self, pathways):
        self.inputs.append([pathway.clone() for pathway in pathways])
        return pathways[1].mean(dim=(2, 3, 4)).repeat(1, 134)[:, :400]


@pytest.fixture
def recorder(monkeypatch):
    network = Recorder()
    monkeypatch.setattr(slowfast.SlowFastR50, "_build", lambda self: network)
    return network


@pytest.mark.parametrize(("align", "first"), [("centre", -16.5), ("end", -48.0), ("start", 15.0)])
def test_windows_hold_the_frames_on_display(film, recorder, monkeypatch, align, first):
    """A film of 24 frames per second, window at 0.5, 1.5, 2.5 s, in batches of two; the edges are repeated."""
    monkeypatch.setitem(slowfast.BATCH, "cpu", 2)
    frames = np.random.default_rng(1).integers(0, 256, (72, 18, 32, 3), dtype=np.uint8)
    path = film("a.mkv", frames, fps=24)
    extractor = create_extractor("slowfast_r50", {"align": align}, random_weights=True)
    series = extract_features(path, {"a": extractor})["a"]
    info = probe_film(path)
    shown = np.array([frame for _, frame in iterate_frames(info)])
    inputs = [np.concatenate([batch[p].numpy() for batch in recorder.inputs]) for p in (0, 1)]
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

    extractors = {
        layer: create_extractor("slowfast_r50", {"layer": layer, "hop_s": 2.4}, random_weights=True, seed=5)
        for layer in ("logits", "avgpool")
    }
    series = extract_features(moving_film, extractors)
    info = probe_film(moving_film)
    frames = np.array([frame for _, frame in iterate_frames(info)])
    ticks_s = 1.2 + (np.arange(64) - 31.5) / 30
    pathways = official_input(frames[np.clip(np.floor(ticks_s * 25 + 1e-6).astype(int), 0, 59)])
    state = torch.random.get_rng_state()
    torch.manual_seed(5)
    network = build_slowfast_r50().eval()
    torch.random.set_rng_state(state)
    head_pool = []
    network.blocks[5].register_forward_hook(lambda block, given, output: head_pool.append(output))
    with torch.no_grad():
        direct = network(list(pathways)).numpy()
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
    assert [row["name"] for row in rows] == list(slowfast._class_names())


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
