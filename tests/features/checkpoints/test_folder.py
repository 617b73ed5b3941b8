"""Folders of checkpoints: where they are looked for, what is wrong with them, and how frames are prepared."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features.checkpoints.folder import (
    PICTURE_PREPROCESSORS,
    VIDEO_PREPROCESSORS,
    CheckpointFolder,
    find_checkpoint,
)
from cinebold.features.checkpoints.pictures import recipe_of
from cinebold.features.registry import create_extractor

NAME = "facebook/vjepa2-vitl-fpc64-256"
NUMBERS = {
    "size": {"shortest_edge": 36},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "image_mean": [0.4, 0.45, 0.5],
    "image_std": [0.2, 0.25, 0.3],
}


@pytest.fixture(autouse=True)
def no_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "place",
    [
        "W/facebook--vjepa2-vitl-fpc64-256",
        "W/vjepa2-vitl-fpc64-256",
        "W/facebook/vjepa2-vitl-fpc64-256",
        "W/models--facebook--vjepa2-vitl-fpc64-256/snapshots/abc",
        "C/models--facebook--vjepa2-vitl-fpc64-256/snapshots/abc",
        "H/hub/models--facebook--vjepa2-vitl-fpc64-256/snapshots/abc",
    ],
)
def test_documented_places(place, tmp_path, monkeypatch):
    (tmp_path / "W").mkdir()
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if place.startswith("C"):
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "C"))
    if place.startswith("H"):
        monkeypatch.setenv("HF_HOME", str(tmp_path / "H"))
    assert find_checkpoint("vjepa2", NAME, tmp_path / "W").path == folder
    assert find_checkpoint("vjepa2", str(folder), None).path == folder


def test_the_revision_of_a_cache_is_main_or_the_only_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--a--b"
    for revision in ("old", "new"):
        (cache / "snapshots" / revision).mkdir(parents=True)
        (cache / "snapshots" / revision / "config.json").write_text("{}")
    with pytest.raises(InputError, match="one revision or refs/main, found new, old"):
        find_checkpoint("clip", "a/b", None)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("old\n")
    assert find_checkpoint("clip", "a/b", None).path.name == "old"


def test_an_absent_checkpoint_says_what_was_looked_for_and_how_to_get_it(tmp_path):
    with pytest.raises(MissingWeightsError) as caught:
        create_extractor("vjepa2", weights_dir=str(tmp_path))
    for part in (
        "facebook--vjepa2-vitl-fpc64-256",
        str(tmp_path),
        str(tmp_path / "nothing" / "hub"),
        f"cinebold-features fetch vjepa2:{NAME} --weights-dir {tmp_path}",
        "--weights-dir",
    ):
        assert part in str(caught.value)
    with pytest.raises(MissingWeightsError, match=r"a checkpoint in the folder \./here"):
        create_extractor("clip", {"checkpoint": "./here"})
    with pytest.raises(SettingError, match="does not exist"):
        create_extractor("clip", weights_dir=str(tmp_path / "none"))


def test_without_the_library_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingError, match=r"pip install 'cinebold\[transformers\]'"):
        create_extractor("vjepa2", random_weights=True)


@pytest.fixture
def copy(stored, tmp_path):
    """copy("clip"): a folder that a test may spoil."""

    def make(kind):
        return Path(shutil.copytree(stored(kind)[0], tmp_path / kind))

    return make


def test_weights_that_are_not_those_of_the_network_are_refused(copy):
    import torch
    from safetensors.torch import load_file, save_file

    folder = copy("clip")
    whole = load_file(folder / "model.safetensors")
    post = "vision_model.post_layernorm.weight"
    for change, message in (
        (
            {post: None},
            r"not the weights of CLIPVisionModelWithProjection: 1 entries are missing \(e.g. .*post_lay",
        ),
        ({"vision_model.more": torch.ones(2)}, r"1 are unexpected \(e.g. .*more"),
        ({post: torch.ones(7)}, r"expected .*post_layernorm.weight of shape \(24,\), found \(7,\)"),
        ({"vision_model.embeddings.position_ids": torch.arange(17)[None]}, None),
    ):
        spoilt = {name: values for name, values in {**whole, **change}.items() if values is not None}
        save_file(spoilt, folder / "model.safetensors", metadata={"format": "pt"})
        extractor = create_extractor("clip", {"checkpoint": str(folder)})
        if message is None:
            extractor.loaded()
            continue
        with pytest.raises(InputError, match=message):
            extractor.loaded()


def test_torch_files_and_parts_give_the_same_network_as_one_file(copy, stored):
    import torch
    from safetensors.torch import load_file

    folder = copy("videomae")
    _, network = stored("videomae")
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    # As the hub's older files have it: biases under other names, in halves, in two parts.
    old = {
        name.replace("attention.attention.query.bias", "attention.attention.q_bias").replace(
            "attention.attention.value.bias", "attention.attention.v_bias"
        ): values.half()
        for name, values in whole.items()
    }
    assert any("q_bias" in name for name in old)
    names = sorted(old)
    parts = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for part, own in parts.items():
        torch.save({name: old[name] for name in own}, folder / part)
    index = {"weight_map": {name: part for part, own in parts.items() for name in own}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    extractor = create_extractor("videomae", {"checkpoint": str(folder)})
    loaded = extractor.loaded().state_dict()
    for name, values in network.videomae.state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], values.half().float(), rtol=0, atol=0)
    before = extractor.fingerprint()["weights_sha256"]
    torch.save({name: old[name] + 1 for name in names[1::2]}, folder / "pytorch_model-2.bin")
    assert create_extractor("videomae", {"checkpoint": str(folder)}).fingerprint()["weights_sha256"] != before
    (folder / "pytorch_model-2.bin").unlink()
    with pytest.raises(MissingWeightsError, match=r"names pytorch_model-2\.bin, which is not beside it"):
        create_extractor("videomae", {"checkpoint": str(folder)})
    index["weight_map"][names[0]] = "../elsewhere.bin"
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="expected names of files beside it"):
        create_extractor("videomae", {"checkpoint": str(folder)})


def test_what_a_folder_lacks_is_named(copy):
    folder = copy("clip")
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    with pytest.raises(MissingWeightsError, match=r"expected the weights in model\.safetensors"):
        create_extractor("clip", {"checkpoint": str(folder)})
    (folder / "preprocessor_config.json").rename(folder / "other.json")
    with pytest.raises(
        InputError, match=r"preprocessing in preprocessor_config\.json or processor_config\.json"
    ):
        create_extractor("clip", {"checkpoint": str(folder)}, random_weights=True)
    table = json.loads((folder / "other.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": table}))
    assert create_extractor("clip", {"checkpoint": str(folder)}, random_weights=True).recipe.resample == 3
    (folder / "config.json").write_text('{"model_type": ')
    with pytest.raises(InputError, match="expected a JSON file"):
        CheckpointFolder(folder).config()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "clip", "quantization_config": {"bits": 4}})
    )
    with pytest.raises(InputError, match="found quantised ones"):
        create_extractor("clip", {"checkpoint": str(folder)}, random_weights=True)


@pytest.mark.parametrize("size", [(90, 161), (61, 40), (36, 36)])
@pytest.mark.parametrize(
    "change", [{}, {"resample": 2}, {"do_center_crop": False, "size": {"height": 30, "width": 20}}]
)
def test_frames_are_prepared_as_by_the_library(size, change, tmp_path):
    """Equal to its processor that uses Pillow; the one that uses torch rounds a grey level otherwise.

    The recipe is read from the file that the library writes.
    """
    import torch
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.videomae.video_processing_videomae import VideoMAEVideoProcessor

    table = {**NUMBERS, **change}
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = CLIPImageProcessorPil(**table)
    processor.save_pretrained(tmp_path)
    VideoMAEVideoProcessor(**table).save_pretrained(tmp_path)
    recipes = [
        recipe_of(CheckpointFolder(tmp_path).preprocessor(names)[1], tmp_path)
        for names in (PICTURE_PREPROCESSORS, VIDEO_PREPROCESSORS)
    ]
    assert recipes[0] == recipes[1]
    ours = recipes[0](torch.tensor(frame).permute(2, 0, 1))
    assert ours.dtype == torch.float32
    pillow = processor(frame, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(ours, pillow, rtol=0, atol=1e-5)
    level = 1.01 / 255 / 0.2
    of_torch = CLIPImageProcessor(**table)(frame, return_tensors="pt")["pixel_values"][0]
    of_films = VideoMAEVideoProcessor(**table)([frame], return_tensors="pt")["pixel_values"][0, 0]
    assert (ours - of_torch).abs().max() < level * (1 if table["resample"] == 2 else 2)
    assert (ours - of_films).abs().max() < level * (1 if table["resample"] == 2 else 2)


def test_sizes_as_old_files_have_them():
    old = {"size": 32, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert recipe_of(old, Path("p.json")).size == (32, 32)  # ViT: no crop, the aspect is not kept
    for more in ({"do_center_crop": True, "crop_size": 32}, {"do_center_crop": True}):  # CLIP, VideoMAE
        recipe = recipe_of({**old, **more}, Path("p.json"))
        assert (recipe.short_side, recipe.crop, recipe.size) == (32, (32, 32), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_pad": True}, "step do_pad is not supported"),
        ({"crop_pct": 0.875}, "crop_pct is not supported"),
        ({"do_center_crop": False}, "does not depend on the film"),
        ({"size": {"shortest_edge": 20}}, r"no smaller than crop_size \(32, 32\), found \(20, 20\)"),
        ({"size": {"longest_edge": 40}}, "expected size as a number or with height and width"),
        ({"do_resize": False}, "no smaller than crop_size"),
        ({"image_mean": [0.5]}, "three numbers image_mean"),
    ],
)
def test_preprocessing_that_cannot_be_followed_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        recipe_of({**NUMBERS, **change}, Path("p.json"))
