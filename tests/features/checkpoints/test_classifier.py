"""Any classifier from a folder: classes and hidden states are the library's."""

import json
import shutil

import numpy as np
import pytest

from cinebold.errors import InputError, SettingError
from cinebold.features.extraction import extract_features
from cinebold.features.registry import create_extractor


def evaluated(network, extractor, frames):
    """The library's own output for frames that our recipe prepared."""
    import torch

    pictures = torch.stack([extractor.recipe(torch.tensor(frame).permute(2, 0, 1)) for frame in frames])
    with torch.no_grad():
        batch = pictures[None] if extractor.is_video else pictures
        return network(batch, output_hidden_states=True)


@pytest.mark.parametrize("kind", ["videomae", "vjepa2"])
def test_classes_of_films(kind, stored, shown, moving_film):
    folder, network = stored(kind)
    parameters = {"logits": {}, "sigmoid": {"scores": "sigmoid"}, "hidden": {"layer": -2}}
    extractors = {
        key: create_extractor(
            "checkpoint", {"checkpoint": str(folder), "hop_s": 2.4, "step_s": 0.25, **given}
        )
        for key, given in parameters.items()
    }
    series = extract_features(moving_film, extractors)
    n_frames = extractors["logits"].n_frames
    frames = shown(moving_film, 1.2 + (np.arange(n_frames) - (n_frames - 1) / 2) * 0.25)
    given = evaluated(network, extractors["logits"], frames)
    expected = {
        "logits": given.logits.numpy(),
        "sigmoid": given.logits.sigmoid().numpy(),
        "hidden": given.hidden_states[2].mean(dim=1).numpy(),
    }
    for key, one in series.items():
        np.testing.assert_allclose(
            one.values, expected[key], atol=1e-5 * np.abs(expected[key]).max(), err_msg=key
        )
    names = {"videomae": ("run (0)", "swim", "run (2)"), "vjepa2": ("LABEL_0", "LABEL_1", "LABEL_2")}
    assert series["logits"].names == names[kind]
    assert series["hidden"].names[0] == "hidden.2 channel 0000"


def test_classes_of_pictures_and_maps_of_a_convolutional_network(stored, shown, moving_film, tmp_path):
    import torch

    from cinebold.features.checkpoints.library import transformers_library

    transformers = transformers_library()
    folder, network = stored("dinov2")
    time = {"hop_s": 2.4, "rate_hz": 2.5}
    extractor = create_extractor("checkpoint", {"checkpoint": str(folder), **time})
    series = extract_features(moving_film, {"one": extractor})["one"]
    frames = shown(moving_film, (np.arange(6) + 0.5) / 2.5)
    expected = evaluated(network, extractor, frames).logits.numpy().mean(axis=0)
    np.testing.assert_allclose(series.values[0], expected, atol=1e-5 * np.abs(expected).max())
    assert series.names == ("cat", "dog")

    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=2
    )
    other = transformers.ResNetForImageClassification(config).eval()
    other.save_pretrained(tmp_path / "resnet", max_shard_size="2KB")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "resnet")
    assert (tmp_path / "resnet" / "model.safetensors.index.json").is_file()
    ask = {"checkpoint": "org/resnet", **time, "layer": 1.0, "spatial": "full", "n_projected": 0}
    extractor = create_extractor("checkpoint", ask, weights_dir=str(tmp_path))
    series = extract_features(moving_film, {"one": extractor})["one"]
    maps = evaluated(other, extractor, frames).hidden_states[-1].numpy()
    assert maps.ndim == 4
    expected = maps.reshape(6, -1).mean(axis=0)
    np.testing.assert_allclose(series.values[0], expected, atol=1e-5 * np.abs(expected).max())


def test_a_network_without_classes_and_one_without_a_number_of_frames_are_refused(stored, tmp_path):
    encoder, _ = stored("dinov2_with_registers")
    with pytest.raises(
        InputError, match=r"classification of films or pictures.*found Dinov2WithRegistersModel"
    ):
        create_extractor("checkpoint", {"checkpoint": str(encoder)})
    whole = tmp_path / "videomae"
    shutil.copytree(stored("videomae")[0], whole)
    preprocessor = whole / "video_preprocessor_config.json"
    table = json.loads(preprocessor.read_text())
    preprocessor.write_text(json.dumps({**table, "crop_size": {"height": 16, "width": 16}}))
    with pytest.raises(InputError, match=r"does not take \(4,\) frames of \(16, 16\) pixels"):
        create_extractor("checkpoint", {"checkpoint": str(whole)})
    with pytest.raises(InputError, match="expected a preprocessing to 32 x 32 pixels"):
        create_extractor("videomae", {"checkpoint": str(whole)})
    shutil.copy(preprocessor, shutil.copytree(stored("vjepa2")[0], tmp_path / "vjepa2"))
    with pytest.raises(InputError, match="expected a preprocessing to 32 x 32 pixels"):
        create_extractor("vjepa2", {"checkpoint": str(tmp_path / "vjepa2")})
    with pytest.raises(SettingError, match="multiple of 2; found 7"):
        create_extractor("checkpoint", {"checkpoint": str(stored("vjepa2")[0]), "frames": 7})
