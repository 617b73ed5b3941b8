"""Motion energy against pymoten, with its default pyramid of 2,530 channels."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.registry import Row, Setup, measure, row
from benchmarks.rows_features.films import in_turns

#: pymoten's default pyramid
FRAMES_PER_S = 24
TEMPORAL_FREQUENCIES = (0.0, 2.0, 4.0)
SPATIAL_FREQUENCIES = (0.0, 2.0, 4.0, 8.0, 16.0)
DIRECTIONS = tuple(float(45 * step) for step in range(8))
FILTER_SPACING = 3.5
#: Pictures handed over at a time, as the extractor does
BLOCK = 256


@row("motion-energy")
def motion_energy(setup: Setup) -> Row:
    """60 s of 96 x 170 pictures (CIE L*) to the log energy of every channel; the filters are made within the time.

    The peer is the fastest of pymoten's ways (its backends, one channel after the other or in batches), each tried
    once on all the pictures, then timed in turns with ours. Some of them calculate in float32: the answers are
    compared with those of all.
    """
    from cinebold.features.motion_energy import MotionEnergyParameters
    from cinebold.features.motion_filters import build_filter_bank
    from cinebold.features.motion_responses import MotionResponses

    height, width, seconds = (48, 85, 3) if setup.quick else (96, 170, 60)
    pictures = moving_pictures(seconds * FRAMES_PER_S, height, width)
    parameters = MotionEnergyParameters(
        rate_hz=FRAMES_PER_S,
        height=height,
        width=width,
        temporal_frequencies=TEMPORAL_FREQUENCIES,
        spatial_frequencies=SPATIAL_FREQUENCIES,
        directions=DIRECTIONS,
        filter_spacing=FILTER_SPACING,
    )

    def ours() -> np.ndarray:
        build_filter_bank.cache_clear()
        stream = MotionResponses(build_filter_bank(parameters), setup.device)
        blocks = [stream.add(pictures[begin : begin + BLOCK]) for begin in range(0, len(pictures), BLOCK)]
        return np.concatenate([*blocks, stream.finish()])

    measured = measure(setup, ours)
    ways = pymoten_ways(setup, height, width)
    tried = {name: in_turns({name: lambda way=way: way(pictures)}, 1) for name, way in ways.items()}
    fastest = min(tried, key=lambda name: tried[name].seconds[name])
    turns = in_turns({"ours": ours, "peer": lambda: ways[fastest](pictures)}, 2 if setup.quick else 4)
    differences = {
        name: float(np.abs(one.results[name] - measured.result).max()) for name, one in tried.items()
    }
    bank = build_filter_bank(parameters)
    return Row(
        name="motion-energy",
        peer=f"pymoten, {fastest} (the fastest of {len(tried)} ways)",
        goal=5,
        agreement=min(differences.values()),
        agreement_of="largest difference of log energy from pymoten's most exact way",
        seconds_peer=turns.seconds["peer"],
        flops=motion_flops(bank, len(pictures)),
        device=setup.device,
        **{**measured.of_row(), "seconds_ours": turns.seconds["ours"]},
        sizes={
            "n_frames": len(pictures),
            "height": height,
            "width": width,
            "n_channels": len(bank.names),
            "frames_per_s": len(pictures) / turns.seconds["ours"],
            "frames_per_s_peer": {name: len(pictures) / one.seconds[name] for name, one in tried.items()},
            "differences": differences,
            "cpu_seconds_ours": turns.cpu_seconds["ours"],
            "cpu_seconds_peer": turns.cpu_seconds["peer"],
        },
    )


def moving_pictures(n_frames: int, height: int, width: int) -> np.ndarray:
    """(n_frames, height * width) L*, 0 to 100: a texture that drifts, a blob on its way and a black second."""
    rng = np.random.default_rng(0)
    texture = rng.random((height, width))
    for axis in (0, 1):
        texture = np.mean([np.roll(texture, shift, axis) for shift in range(5)], axis=0)
    texture = 100 * (texture - texture.min()) / np.ptp(texture)
    y, x = np.mgrid[:height, :width] / height
    pictures = np.empty((n_frames, height * width))
    for index in range(n_frames):
        time_s = index / FRAMES_PER_S
        picture = np.roll(texture, (index // 2, index), axis=(0, 1))
        blob = np.exp(-((x - 0.9 - 0.7 * np.sin(time_s)) ** 2 + (y - 0.5) ** 2) / 0.02)
        pictures[index] = (picture * (1 - blob) + 90 * blob).ravel()
    pictures[FRAMES_PER_S : 2 * FRAMES_PER_S] = 0
    return pictures


def pymoten_ways(setup: Setup, height: int, width: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Functions of (n, n_pixels) pictures to the log energies, by name."""
    from moten.pyramids import MotionEnergyPyramid

    def pyramid() -> MotionEnergyPyramid:
        return MotionEnergyPyramid(
            stimulus_vhsize=(height, width),
            stimulus_fps=FRAMES_PER_S,
            temporal_frequencies=list(TEMPORAL_FREQUENCIES),
            spatial_frequencies=list(SPATIAL_FREQUENCIES),
            spatial_directions=list(DIRECTIONS),
            filter_spacing=FILTER_SPACING,
        )

    def way(backend: str, method: str) -> Callable[[np.ndarray], np.ndarray]:
        def project(pictures: np.ndarray) -> np.ndarray:
            from moten.backend import set_backend

            set_backend(backend)
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # its bars
                    return _as_array(getattr(pyramid(), method)(pictures))
            finally:
                set_backend("numpy")

        return project

    backends = ("torch_cuda",) if setup.on_gpu else ("numpy", "torch")
    methods = {"a channel at a time": "project_stimulus", "in batches": "project_stimulus_batched"}
    return {f"{one} {how}": way(one, method) for one in backends for how, method in methods.items()}


def motion_flops(bank: Any, n_frames: int) -> dict[str, float]:
    """Products of the pictures under each envelope with its filters, and of every projection with the taps."""
    n_weights = sum(patch.sine.size + patch.cosine.size for patch in bank.patches)
    n_temporal, n_taps = bank.temporal_sine.shape
    return {"float64": 2.0 * n_frames * (n_weights + 2 * bank.n_filters * 2 * n_temporal * n_taps)}


def _as_array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if hasattr(values, "cpu") else np.asarray(values)
