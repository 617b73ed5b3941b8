"""A network of a few weights, and a process that extracts its features: FILM TARGET BIN_S N_WINDOWS.

The process says so and hangs when it has computed N_WINDOWS.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.features.network import NetworkExtractor, Windows, exact_inference
from cinebold.features.store import ensure_features
from cinebold.video.windows import WindowRule


@dataclass(frozen=True)
class TinyParameters:
    """When it looks, in s; windows are averaged where there are bins."""

    hop_s: float = 0.1
    bin_s: float = 0.0


class Tiny(NetworkExtractor):
    """Six numbers of two frames; counts frames and windows that it sees, and hangs after some of these."""

    name = "tiny"
    parameter_kind = TinyParameters
    batch: Mapping[str, int] = {"cpu": 4}

    def __init__(self, parameters: TinyParameters | None = None, scale: float = 1.0, hang_after: int = -1):
        super().__init__(parameters or TinyParameters(), random_weights=True)
        self.scale, self.hang_after = scale, hang_after
        self.n_windows = self.n_prepared = 0

    def describe(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def untrained(self) -> Any:
        import torch

        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 3 * 3 * 4, 6), torch.nn.Tanh())

    def windows(self, info: Any) -> Windows:
        rule = WindowRule(0.4, self.parameters.hop_s, 2)
        return Windows(
            rule.times(info.duration_s),
            rule.sample_times(info.duration_s),
            rule.pad_fraction(info.duration_s),
            bin_s=self.parameters.bin_s or None,
        )

    def prepare(self, frame: np.ndarray) -> Any:
        import torch

        self.n_prepared += 1
        return torch.tensor(frame[::40, ::40]).permute(2, 0, 1).float() / 255

    def values(self, clips: Sequence[Sequence[Any]]) -> np.ndarray:
        import torch

        if self.n_windows == self.hang_after:
            print("hanging", flush=True)
            time.sleep(600)
        self.n_windows += len(clips)
        with exact_inference():
            output = self._network(torch.stack([torch.stack(list(clip)) for clip in clips]))
        return self.scale * output.numpy()

    def column_names(self) -> tuple[str, ...]:
        return tuple(f"tiny {index}" for index in range(6))


if __name__ == "__main__":
    film, target, bin_s, n_windows = sys.argv[1:]
    tiny = Tiny(TinyParameters(bin_s=float(bin_s)), hang_after=int(n_windows))
    ensure_features(Path(film), {Path(target): tiny})
