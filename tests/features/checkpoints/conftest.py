"""Tiny networks of transformers with random weights, stored in folders as the library stores them."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BLOCKS = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 36},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.4, 0.45, 0.5],
    "image_std": [0.2, 0.25, 0.3],
}


def tiny(kind: str) -> Any:
    """An untrained network of the library."""
    import torch

    from cinebold.features.checkpoints.library import transformers_library

    transformers = transformers_library()
    torch.manual_seed(0)
    if kind == "vjepa2":
        predictor = {
            "pred_hidden_size": 24,
            "pred_num_hidden_layers": 1,
            "pred_num_attention_heads": 2,
            "num_pooler_layers": 1,
        }
        config = transformers.VJEPA2Config(
            crop_size=32, frames_per_clip=8, **BLOCKS, **predictor, num_labels=3
        )
        network = transformers.VJEPA2ForVideoClassification(config)
    elif kind == "videomae":
        config = transformers.VideoMAEConfig(
            image_size=32,
            num_frames=4,
            intermediate_size=48,
            **BLOCKS,
            id2label={0: "run", 1: "swim", 2: "run"},
            use_mean_pooling=False,
        )
        network = transformers.VideoMAEForVideoClassification(config)
    elif kind == "clip":
        vision = {"image_size": 32, "patch_size": 8, "intermediate_size": 48, **BLOCKS}
        text = {
            **vision,
            "vocab_size": 11,
            "max_position_embeddings": 5,
            "bos_token_id": 0,
            "eos_token_id": 1,
        }
        config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=20)
        network = transformers.CLIPModel(config)
    elif kind == "dinov2_with_registers":
        config = transformers.Dinov2WithRegistersConfig(
            image_size=40, patch_size=8, num_register_tokens=2, **BLOCKS
        )
        network = transformers.Dinov2WithRegistersModel(config)
    else:
        config = transformers.Dinov2Config(
            image_size=40, patch_size=8, **BLOCKS, id2label={0: "cat", 1: "dog"}
        )
        network = transformers.Dinov2ForImageClassification(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in network.parameters():
            values.add_(torch.randn(values.shape, generator=generator) * 0.2)
    return network.eval()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may ask a server; without the library there is nothing to test."""
    pytest.importorskip("transformers", reason="transformers is not installed")

    def refuse(*given: Any) -> None:
        raise AssertionError(f"a connection to {given[1:]} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Any]]:
    """stored("clip"): a folder and the library's network with its weights; made once."""
    made: dict[str, tuple[Path, Any]] = {}

    def get(kind: str) -> tuple[Path, Any]:
        if kind not in made:
            folder = tmp_path_factory.mktemp("weights") / kind
            network = tiny(kind)
            network.save_pretrained(folder)
            is_video = kind in ("vjepa2", "videomae")
            name = "video_preprocessor_config.json" if is_video else "preprocessor_config.json"
            (folder / name).write_text(json.dumps(PREPROCESSOR))
            made[kind] = folder, network
        return made[kind]

    return get


@pytest.fixture(scope="session")
def shown() -> Callable[[Path, np.ndarray], list[np.ndarray]]:
    """shown(film, times_s): the frames on display at these times."""
    from cinebold.video.decoding import iterate_frames, probe_film

    def look(film: Path, times_s: np.ndarray) -> list[np.ndarray]:
        info = probe_film(film)
        frames = [frame for _, frame in iterate_frames(info)]
        last = [max([0, *(i for i, t in enumerate(info.pts_s) if t <= time + 1e-6)]) for time in times_s]
        return [frames[index] for index in last]

    return look
