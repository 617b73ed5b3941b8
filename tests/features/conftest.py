"""Small films for the extractors, and files of random weights that they load as if they were pretrained."""

import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """Encode (n, height, width, 3) uint8 frames: film("a.mp4", frames, pts_ms) or film("a.mp4", frames, fps=25)."""

    def write(name: str, frames: np.ndarray, pts_ms: list[int] | None = None, *, fps: int = 25) -> Path:
        import av

        time_base = Fraction(1, 1000) if pts_ms is not None else Fraction(1, fps)
        pts = pts_ms if pts_ms is not None else range(len(frames))
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv444p"
            stream.time_base = stream.codec_context.time_base = time_base
            for picture, ticks in zip(frames, pts, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = ticks, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return tmp_path / name

    return write


@pytest.fixture
def moving_film(film: Callable[..., Path]) -> Path:
    """2.4 s of a drifting colour pattern at 25 frames per second, 90 x 160."""
    y, x = np.mgrid[:90, :160]
    t = np.arange(60)[:, None, None]
    channels = [127 + 100 * np.sin(x / 9 + t * 0.3 + k) * np.cos(y / 13 - t * 0.1 * k) for k in range(3)]
    return film("moving.mp4", np.stack(channels, axis=-1).astype(np.uint8))


@pytest.fixture(scope="session")
def write_random_weights() -> Callable[..., Any]:
    """Write weights under a usual name: write(folder, file_name, network); returns the network with these weights."""

    def write(folder: Path, file_name: str, network: Any, seed: int = 0) -> Any:
        import torch

        state = random_state(network, seed)
        torch.save(dict(state), folder / file_name)
        network.load_state_dict(state)
        return network.eval()

    return write


def random_state(network: Any, seed: int = 0) -> Mapping[str, Any]:
    """Weights of the scale of trained ones. Large matrices are Hankel: all their numbers lie in one short vector, so
    that a file of 61 million weights has a megabyte."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, values in network.state_dict().items():
        if not values.dtype.is_floating_point:
            state[name] = values
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(values.shape, generator=generator)
        elif values.ndim == 2:
            rows, columns = values.shape
            line = torch.randn(rows + columns - 1, generator=generator) * (2 / columns) ** 0.5
            state[name] = line.as_strided((rows, columns), (1, 1))
        elif values.ndim > 2:
            fan_in = values[0].numel()
            state[name] = torch.randn(values.shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            state[name] = 0.1 * torch.randn(values.shape, generator=generator) + ("weight" in name)
    return state
