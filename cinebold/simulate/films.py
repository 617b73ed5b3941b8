"""Procedural films: cuts between scenes of drifting gratings, textures, natural-spectrum noise and plain fields."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from cinebold.files import atomic_path

Pattern = Callable[[float], np.ndarray]


def make_film(
    path: str | Path,
    duration_s: float,
    rng: np.random.Generator,
    *,
    frames_per_second: int = 12,
    frame_shape: tuple[int, int] = (72, 128),
    scene_seconds: tuple[float, float] = (2.0, 6.0),
) -> Path:
    """Write one procedural film of about `duration_s` seconds (rounded to whole frames) as H.264 in MP4.

    Luminance, contrast, colour, direction and speed are drawn anew at every cut, independently of each other,
    so that low-level features and motion energy vary and are not collinear.
    """
    n_frames = max(1, round(duration_s * frames_per_second))
    frames = procedural_frames(n_frames, rng, frames_per_second, frame_shape, scene_seconds)
    return write_film(path, frames, frames_per_second, frame_shape)


def procedural_frames(
    n_frames: int,
    rng: np.random.Generator,
    frames_per_second: int,
    frame_shape: tuple[int, int],
    scene_seconds: tuple[float, float],
) -> Iterator[np.ndarray]:
    """The frames of a procedural film, uint8 RGB (rows, columns, 3), one after the other."""
    made, scene = 0, 0
    luminance = contrast = 0.5
    while made < n_frames:
        length = max(1, round(rng.uniform(*scene_seconds) * frames_per_second))
        if n_frames - made - length < scene_seconds[0] * frames_per_second:
            length = n_frames - made  # no scene shorter than the shortest: the last one takes the rest
        pattern = _SCENES[rng.choice(len(_SCENES), p=_SCENE_SHARES)](rng, frame_shape)
        # Bright follows dark and strong follows weak: had scenes no memory, much of what a film does would be
        # slower than the high-pass filter of an analysis and lost to it.
        luminance = 1 - luminance if scene % 2 else rng.uniform(0.15, 0.85)
        contrast = 1 - contrast if scene % 2 else rng.uniform(0.05, 0.95)
        level = contrast * rng.uniform(0.7, 1.0, 2) / 2  # from, to: a slow change within the scene
        tint = 1 + rng.uniform(-0.15, 0.15, 3)
        for i in range(length):
            strength = level[0] + (level[1] - level[0]) * i / length
            grey = luminance + strength * pattern(i / frames_per_second)
            yield (np.clip(grey[:, :, None] * tint, 0, 1) * 255 + 0.5).astype(np.uint8)
        made += length
        scene += 1


def write_film(
    path: str | Path, frames: Iterable[np.ndarray], frames_per_second: int, frame_shape: tuple[int, int]
) -> Path:
    """Encode RGB frames; the same frames give the same bytes (one thread, no time stamps, no version strings)."""
    import av

    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container,
    ):
        # No B frames: presentation starts at exactly 0 s, without an edit list.
        # A fixed quantiser, and none of x264's adaptive ones: with those its vector code gave other bytes in processes
        # that had loaded other libraries before.
        adaptive_off = "aq-mode=0:mbtree=0:rc-lookahead=0:sync-lookahead=0"
        options = {"preset": "veryfast", "qp": "18", "bf": "0", "threads": "1", "x264-params": adaptive_off}
        stream = container.add_stream("libx264", rate=frames_per_second, options=options)
        stream.height, stream.width = frame_shape
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
        stream.codec_context.time_base = Fraction(1, frames_per_second)
        for i, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            image.pts = i
            image.time_base = Fraction(1, frames_per_second)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return Path(path)


def _grating(rng: np.random.Generator, shape: tuple[int, int]) -> Pattern:
    """A sinusoidal grating of random direction that drifts or, at a low temporal frequency, nearly stands."""
    rows, columns = np.indices(shape)
    angle = rng.uniform(0, 2 * np.pi)
    cycles_per_image = 2 ** rng.uniform(1, 4)
    temporal_hz = 2 ** rng.uniform(-2, 2)
    phase = 2 * np.pi * cycles_per_image / shape[0] * (np.cos(angle) * columns + np.sin(angle) * rows)
    return lambda time_s: np.sin(phase - 2 * np.pi * temporal_hz * time_s)


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> Pattern:
    """Noise with the 1/f amplitude spectrum of natural images, drifting over a torus."""
    spectrum = _noise_spectrum(rng, shape, lambda f: 1 / f)
    return _drifting(rng, shape, spectrum)


def _texture(rng: np.random.Generator, shape: tuple[int, int]) -> Pattern:
    """Blobs of one size with hard edges, drifting."""
    size = 2 ** rng.uniform(1.5, 3.5)  # cycles an image
    band = _noise_spectrum(rng, shape, lambda f: np.exp(-0.5 * (np.log2(f * shape[0] / size) / 0.4) ** 2))
    blobs = np.tanh(3 * np.fft.irfft2(band, shape))
    return _drifting(rng, shape, np.fft.rfft2(blobs))


def _plain(rng: np.random.Generator, shape: tuple[int, int]) -> Pattern:
    """A plain field that may flicker slowly."""
    flicker_hz = rng.choice([0.0, 0.5, 1.0])
    return lambda time_s: np.full(shape, 0.3 * np.sin(2 * np.pi * flicker_hz * time_s))


def _noise_spectrum(
    rng: np.random.Generator, shape: tuple[int, int], amplitude: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * amplitude(frequency)
    spectrum[0, 0] = 0
    return spectrum / np.fft.irfft2(spectrum, shape).std()


def _drifting(rng: np.random.Generator, shape: tuple[int, int], spectrum: np.ndarray) -> Pattern:
    """A periodic image that moves at constant velocity, by the shift theorem: no interpolation error."""
    angle = rng.uniform(0, 2 * np.pi)
    speed = shape[0] * 2 ** rng.uniform(-4, 0.5)  # pixels a second
    shift = np.fft.fftfreq(shape[0])[:, None] * np.sin(angle) + np.fft.rfftfreq(shape[1])[None] * np.cos(
        angle
    )
    return lambda time_s: np.fft.irfft2(spectrum * np.exp(-2j * np.pi * shift * speed * time_s), shape)


_SCENES = (_grating, _noise, _texture, _plain)
_SCENE_SHARES = (0.35, 0.25, 0.25, 0.15)
