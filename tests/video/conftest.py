"""Small films with known pictures and time stamps."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest


def encode_film(
    path: Path,
    frames: np.ndarray,
    pts: list[int],
    *,
    time_base: Fraction = Fraction(1, 1000),
    codec: str = "libx264",
    pixel_format: str = "yuv444p",
    rotation_deg: int = 0,
    sound_s: float = 0.0,
) -> Path:
    """Encode (n, height, width, 3) uint8 frames with these time stamps; `sound_s`: a silent track from 0 s on."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = time_base
        if codec == "libx264":
            stream.options = {"crf": "1"}
        sound = container.add_stream("libopus", rate=48000, layout="mono") if sound_s else None
        for picture, ticks in zip(frames, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = ticks, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            for begin in range(0, int(sound_s * 48000), 960):
                silence = av.AudioFrame.from_ndarray(
                    np.zeros((1, 960), np.float32), format="flt", layout="mono"
                )
                silence.sample_rate, silence.pts, silence.time_base = 48000, begin, Fraction(1, 48000)
                container.mux(sound.encode(silence))
            container.mux(sound.encode())
    if rotation_deg:
        _mark_rotation(path, rotation_deg)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """Write a film into the test's folder: film("a.mp4", frames, pts, ...)."""
    return lambda name, frames, pts, **options: encode_film(tmp_path / name, frames, pts, **options)


@pytest.fixture
def grey_levels() -> Callable[..., np.ndarray]:
    """Frames that tell their own index: frame i is grey of level 10 + 5 i."""

    def make(n: int, height: int = 48, width: int = 64) -> np.ndarray:
        levels = (10 + 5 * np.arange(n)).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (n, height, width, 3)).copy()

    return make


@pytest.fixture
def encode(tmp_path: Path) -> Callable[..., Path]:
    """Encode frames at 25 frames per second; `planes`: raw YUV planes instead of RGB frames."""

    def write(
        name, frames, codec="libx264", pixel_format="yuv420p", *, planes=False, context=None, **options
    ):
        import av

        muxer = options.pop("muxer", {})
        with av.open(str(tmp_path / name), "w", options=muxer) as container:
            stream = container.add_stream(codec, rate=25)
            first = frames[0]
            stream.height, stream.width = (
                (first.shape[0] * 2 // 3 if planes else first.shape[0]),
                first.shape[1],
            )
            stream.pix_fmt, stream.options = pixel_format, options
            for key, value in (context or {}).items():
                setattr(stream.codec_context, key, value)
            for index, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(picture, format=pixel_format if planes else "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return tmp_path / name

    return write


@pytest.fixture
def noise() -> np.ndarray:
    """100 pictures that no codec makes small, so that each has packets worth damaging."""
    return np.random.default_rng(0).integers(0, 255, (100, 64, 64, 3), dtype=np.uint8)


def _mark_rotation(path: Path, rotation_deg: int) -> None:
    """Set the display matrix in an MP4's track header to a counter-clockwise turn (ISO 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    cosine, sine = {90: (0, -1), 180: (-1, 0), 270: (0, 1)}[rotation_deg]
    one = 1 << 16
    matrix = [cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30]
    start = content.index(b"tkhd") + 4 + 40  # version 0: the matrix stands 40 bytes into the box
    content[start : start + 36] = b"".join(int(value).to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(content)
