"""Encoders read from folders: the numbers of the library's own forward pass on the same frames."""

import json

import numpy as np
import pytest

from cinebold.errors import InputError, SettingError
from cinebold.features.extraction import extract_features
from cinebold.features.projection import SparseProjection
from cinebold.features.registry import create_extractor, validate_parameters

CASES = ("vjepa2", "videomae", "clip", "dinov2", "dinov2_with_registers")


def picture_of(frame):
    """Short side to 36 by Pillow, bicubic; 32 x 32 of the middle; scaled and normalised."""
    from PIL import Image

    height, width = frame.shape[:2]
    size = (36, int(36 * width / height))
    pixels = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BICUBIC))
    top, left = (size[0] - 32) // 2, (size[1] - 32) // 2
    pixels = pixels[top : top + 32, left : left + 32] / 255
    return ((pixels - [0.4, 0.45, 0.5]) / [0.2, 0.25, 0.3]).transpose(2, 0, 1).astype(np.float32)


def library_states(kind, network, batch):
    """Node -> (n, ...) of the encoder, all by the library."""
    import torch

    encoder = {
        "vjepa2": lambda: network.vjepa2(batch, skip_predictor=True, output_hidden_states=True),
        "videomae": lambda: network.videomae(batch, output_hidden_states=True),
        "clip": lambda: network.vision_model(batch, output_hidden_states=True),
        "dinov2": lambda: network.dinov2(batch, output_hidden_states=True),
        "dinov2_with_registers": lambda: network(batch, output_hidden_states=True),
    }
    with torch.no_grad():
        given = encoder[kind]()
        states = {str(index): values.numpy() for index, values in enumerate(given.hidden_states)}
        states["last"] = given.last_hidden_state.numpy()
        if kind == "clip":
            states["embedding"] = network.get_image_features(batch).pooler_output.numpy()
    return states


@pytest.mark.parametrize("kind", CASES)
def test_layers_equal_the_library_on_the_same_frames(kind, stored, shown, moving_film):
    import torch

    folder, network = stored(kind)
    name = kind.split("_")[0]
    is_video = kind in ("vjepa2", "videomae")
    n_extra = {"clip": 1, "dinov2": 1, "dinov2_with_registers": 3}.get(kind, 0)
    time = {"hop_s": 1.2, "step_s": 0.2} if is_video else {"hop_s": 1.2, "rate_hz": 2.5}
    parameters = {
        "whole": {"layer": 1, "spatial": "full", "n_projected": 0},
        "projected": {"layer": "hidden.2", "spatial": "full", "n_projected": 30},
        "fraction": {"layer": 0.5},
        "first": {"layer": 0},
        "end": {"layer": -1},
    }
    parameters |= {"embedding": {"layer": "embedding"}} if kind == "clip" else {"last": {"layer": "last"}}
    if not is_video:
        parameters = {key: {"tokens": "patches", **given} for key, given in parameters.items()}
        parameters["class"] = {"layer": 3, "tokens": "cls"}
    extractors = {
        key: create_extractor(name, {"checkpoint": str(folder), **time, **given})
        for key, given in parameters.items()
    }
    series = extract_features(moving_film, extractors)
    assert len({id(extractor._network) for extractor in extractors.values()}) == 1

    if is_video:
        n_frames = {"vjepa2": 8, "videomae": 4}[kind]
        samples_s = np.array(
            [[middle + (k - (n_frames - 1) / 2) * 0.2 for k in range(n_frames)] for middle in (0.6, 1.8)]
        )
    else:
        samples_s = (np.arange(6) + 0.5) / 2.5
    pictures = np.array([picture_of(frame) for frame in shown(moving_film, samples_s.ravel())])
    states = library_states(kind, network, torch.from_numpy(pictures.reshape(*samples_s.shape, 3, 32, 32)))
    patches = {key: values[:, n_extra:] for key, values in states.items() if values.ndim == 3}
    by_channel = patches["2"].transpose(0, 2, 1).reshape(len(samples_s), -1)
    expected = {
        "whole": patches["1"].transpose(0, 2, 1).reshape(len(samples_s), -1),
        "projected": (SparseProjection(by_channel.shape[1], 30).matrix @ by_channel.T).T,
        "fraction": patches["2"].mean(axis=1),  # half of three blocks, rounded up
        "first": patches["0"].mean(axis=1),
        "end": patches["3"].mean(axis=1),
        "last": patches["last"].mean(axis=1),
        "class": states["3"][:, 0],
        "embedding": states.get("embedding"),
    }
    for key, one in series.items():
        means = expected[key] if is_video else expected[key].reshape(2, 3, -1).mean(axis=1)
        np.testing.assert_allclose(one.values, means, atol=1e-5 * np.abs(means).max(), err_msg=key)
        assert one.times_s.tolist() == pytest.approx([0.6, 1.8])
        assert len(set(one.names)) == one.values.shape[1] == len(one.names)
    assert series["end"].names[-1] == "hidden.3 channel 0023"
    assert extractors["end"].layer_sizes()["hidden.1"] == expected["whole"].shape[1]


def test_the_number_of_threads_changes_no_byte_and_blocks_after_the_deepest_are_not_computed(
    stored, moving_film
):
    import torch

    folder, _ = stored("vjepa2")
    before, seen, computed = torch.get_num_threads(), [], []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            extractor = create_extractor(
                "vjepa2", {"checkpoint": str(folder), "layer": 2, "hop_s": 0.4, "frames": 4, "align": "end"}
            )
            network = extractor.loaded()
            network.encoder.layer[2].register_forward_hook(lambda *given: computed.append(given))
            extractor.loaded = lambda network=network: network
            seen.append(extract_features(moving_film, {"one": extractor})["one"].values.tobytes())
    finally:
        torch.set_num_threads(before)
    assert seen[0] == seen[1]
    assert not computed


@pytest.mark.parametrize(("family", "kind"), [("vjepa2", "vjepa2"), ("clip", "clip")])
def test_random_weights_are_drawn_with_the_seed_for_the_configuration_of_a_folder(
    family, kind, stored, moving_film
):
    folder, _ = stored(kind)

    def values(seed):
        extractor = create_extractor(family, {"checkpoint": str(folder)}, random_weights=True, seed=seed)
        series = extract_features(moving_film, {"one": extractor})["one"]
        assert series.provenance["random_weights"] is True
        assert "weights_sha256" not in series.provenance
        return series.values

    assert values(3).tobytes() == values(3).tobytes()
    assert (values(3) != values(4)).any()


def test_official_sizes_without_a_folder():
    """The numbers of tokens and channels of the published networks; the weights are not drawn."""
    assert create_extractor("vjepa2", random_weights=True).layer_sizes()["hidden.24"] == 8192 * 1024
    assert create_extractor("videomae", random_weights=True).layer_sizes()["last"] == 1568 * 768
    clip = create_extractor("clip", random_weights=True)
    assert (clip.layer_sizes()["embedding"], len(clip.column_names())) == (512, 512)
    dinov2 = create_extractor("dinov2", {"tokens": "patches"}, random_weights=True)
    assert dinov2.layer_sizes()["hidden.12"] == 256 * 768
    assert dinov2.fingerprint()["preprocessing"]["crop"] == (224, 224)


def test_the_fingerprint_follows_content_and_the_name_and_not_the_place(stored, tmp_path):
    import shutil

    folder, _ = stored("clip")
    first = create_extractor("clip", {"checkpoint": str(folder), "layer": -1}).fingerprint()
    other = tmp_path / "org--clip"
    shutil.copytree(folder, other)
    for given in ({"checkpoint": f"{other}/", "layer": "hidden.3"}, {"checkpoint": "org/clip", "layer": 1.0}):
        assert create_extractor("clip", given, weights_dir=str(tmp_path)).fingerprint() == first
    assert first["parameters"]["checkpoint"] == "clip"
    numbers = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**numbers, "resample": 2}))
    second = create_extractor("clip", {"checkpoint": str(other), "layer": 3}).fingerprint()
    assert second["weights_sha256"] == first["weights_sha256"] and second != first
    assert json.loads(json.dumps(first))["random_weights"] is False


@pytest.mark.parametrize(
    ("family", "given", "message"),
    [
        ("vjepa2", {"layer": "middle"}, "layer must be last, an index, or a fraction"),
        ("vjepa2", {"layer": 1.5}, "layer must be last"),
        ("videomae", {"step_s": 0}, "step_s must be above 0"),
        ("clip", {"rate_hz": 1}, "rate_hz must be from"),
        ("dinov2", {"tokens": "all"}, "tokens must be one of patches, cls"),
        ("dinov2", {"scores": "softmax"}, "scores"),
        ("clip", {"compiled": True}, "compiled is not offered"),
    ],
)
def test_senseless_parameters_are_refused(family, given, message):
    with pytest.raises(SettingError, match=message):
        validate_parameters(family, given)


@pytest.mark.parametrize(
    ("family", "kind", "given", "error", "message"),
    [
        ("vjepa2", "clip", {}, InputError, "expected model_type vjepa2, found 'clip'"),
        ("clip", "clip", {"layer": 4}, SettingError, "at most 3; found 4"),
        ("vjepa2", "vjepa2", {"frames": 3}, SettingError, "multiple of 2; found 3"),
        ("vjepa2", "vjepa2", {"spatial": "full", "n_projected": 4}, None, ""),
    ],
)
def test_what_does_not_fit_a_checkpoint_is_named(family, kind, given, error, message, stored):
    ask = {"checkpoint": str(stored(kind)[0]), **given}
    if error is None:
        assert len(create_extractor(family, ask).column_names()) == 4
        return
    with pytest.raises(error, match=message):
        create_extractor(family, ask)
