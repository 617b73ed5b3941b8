"""SlowFast, 8 x 8, trained on Kinetics-400 (Feichtenhofer et al. 2019), by pytorchvideo.

The input follows the official recipe, whose details matter: 64 frames at 30 Hz, of these 32 for the fast
pathway and 8 for the slow one at truncated, hence irregular, positions; then /255, normalisation, the short
side to 256 pixels (bilinear, not antialiased) and a central crop of 256 x 256, in this order. Another input,
that of a project of 2021, is there for comparison (`PROJECT_2021`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.features.clips import (
    ClipExtractor,
    ClipParameters,
    ClipRecipe,
    normalised,
    stage_reader,
    zoo_source,
)
from cinebold.features.network import Windows
from cinebold.features.network_options import YOUNGER
from cinebold.features.nodes import Layer
from cinebold.features.parameters import require
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import TIME_TOLERANCE_S, WindowRule

if TYPE_CHECKING:
    import torch

RECIPE = ClipRecipe(n_frames=32, step=2, side=256, crop=256)
#: Positions of the fast pathway among the 64 frames, and of the slow one among those 32: 0, 2, ..., 60, 63 and 0, 4,
#: 8, 13, 17, 22, 26, 31; a regular stride is another input.
FAST = RECIPE.positions
SLOW = np.linspace(0, len(FAST) - 1, 8).astype(int)
#: Windows that go through the network together.
BATCH = {"cpu": 8, "cuda": 8}
#: Channels of the two pathways, and places in a row.
_STAGES = {
    "stem": (64, 8, 64),
    "res2": (256, 32, 64),
    "res3": (512, 64, 32),
    "res4": (1024, 128, 16),
    "res5": (2048, 256, 8),
}

#: neurohackademy/feature-encoding with tridivb/slowfast_feature_extractor: around each frame of a film of 24 frames
#: a second the 72 frames [i - 36, i + 36), all for the fast pathway and 18 for the slow one.
PROJECT_2021 = "neurohackademy2021"
RATE_2021_HZ = 24
FAST_2021 = np.arange(72)
SLOW_2021 = np.linspace(0, 71, 18).astype(int)  # 0, 4, ..., 20, 25, ...: nearly, not quite, every fourth
#: ffmpeg -filter:v "scale=365:258, crop=256:256"; of 4:2:0 video it crops at even places.
WIDTH_2021, HEIGHT_2021, LEFT_2021, TOP_2021 = 365, 258, 54, 0


class SlowFastR101(ClipExtractor):
    """Windows of 2.13 s.

    A stage is read after its last block, before the fast pathway is merged into the slow one. "avgpool" is the
    network's own pooling: both pathways averaged over time and 7 x 7 places at stride 1, then over the 2 x 2 results,
    so that the places inside count more than those at the edge; 2048 slow and 256 fast channels.
    """

    name = "slowfast_r101"
    source = zoo_source("slowfast_r101", "SLOWFAST_8x8_R101")
    recipe = RECIPE
    batch = BATCH

    @classmethod
    def pathways(cls, parameters: Any) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the slow pathway among those of the fast one, and of these among the samples of a window."""
        return SLOW, FAST

    @classmethod
    def layers_of(cls, parameters: Any) -> Mapping[str, Layer]:
        """Stages, pooled channels and classes."""
        n_slow, n_fast = map(len, cls.pathways(parameters))
        stages = {
            stage: Layer(
                {f"{stage} slow": (slow, n_slow, side, side), f"{stage} fast": (fast, n_fast, side, side)}
            )
            for stage, (slow, fast, side) in _STAGES.items()
        }
        return {
            "logits": Layer({"logits": (400,)}, classes="KINETICS400"),
            "avgpool": Layer({"avgpool": (2304, 1, 2, 2)}, always_pooled=True),
            **stages,
        }

    @property
    def reader(self) -> Any:
        """Of both pathways."""
        slow, _ = self.pathways(self.parameters)
        return partial(stage_reader, enter=partial(_both_pathways, slow=slow), split=_split_pathways)

    def unprojected_names(self) -> tuple[str, ...]:
        """Classes, or pathways and their channels."""
        if self.parameters.layer != "avgpool":
            return super().unprojected_names()
        return tuple(
            [f"avgpool slow {i:04d}" for i in range(2048)] + [f"avgpool fast {i:03d}" for i in range(256)]
        )


def _both_pathways(batch: "torch.Tensor", slow: np.ndarray) -> list["torch.Tensor"]:
    import torch

    return [batch[:, :, torch.as_tensor(slow, device=batch.device)], batch]


def _split_pathways(stage: str, output: Any) -> dict[str, "torch.Tensor"]:
    if stage not in _STAGES:
        return {stage: output}
    slow, fast = output  # the next block replaces the entries of this list
    return {f"{stage} slow": slow[:, : _STAGES[stage][0]], f"{stage} fast": fast}


@dataclass(frozen=True)
class SlowFastParameters(ClipParameters):
    """What is read from the network, and when."""

    #: "official", or "neurohackademy2021", which has its own hop (a frame of 1/24 s) and alignment ("frame")
    windows: str = "official"


class SlowFastR50(SlowFastR101):
    """The same with 50 layers, also on the windows of the project of 2021."""

    name = "slowfast_r50"
    parameter_kind = SlowFastParameters
    source = zoo_source("slowfast_r50", "SLOWFAST_8x8_R50")
    younger = (*YOUNGER, "windows", "spatial", "n_projected", "projection_seed")

    @classmethod
    def check_parameters(cls, given: Mapping[str, Any]) -> SlowFastParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        if given.get("windows") == PROJECT_2021:
            given = {"hop_s": 1 / RATE_2021_HZ, "align": "frame", **given}
        return super().check_parameters(given)

    @classmethod
    def check(cls, parameters: SlowFastParameters) -> None:
        """Raise SettingError unless the parameters make sense together."""
        choices = ("official", PROJECT_2021)
        require(
            cls.name,
            parameters.windows in choices,
            f"windows must be one of {', '.join(choices)}",
            parameters.windows,
        )
        super().check(parameters)

    @classmethod
    def check_times(cls, parameters: SlowFastParameters) -> None:
        """Raise SettingError unless the windows know `hop_s` and `align`."""
        if parameters.windows != PROJECT_2021:
            super().check_times(parameters)
            return
        fixed = f"hop_s and align are fixed at 1/{RATE_2021_HZ} s and 'frame' with windows = {PROJECT_2021!r}"
        is_a_frame = abs(parameters.hop_s - 1 / RATE_2021_HZ) < TIME_TOLERANCE_S
        require(cls.name, is_a_frame, fixed, parameters.hop_s)
        require(cls.name, parameters.align == "frame", fixed, parameters.align)

    @classmethod
    def pathways(cls, parameters: SlowFastParameters) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the slow pathway among those of the fast one, and of these among the samples of a window."""
        return (SLOW_2021, FAST_2021) if parameters.windows == PROJECT_2021 else (SLOW, FAST)

    @property
    def of_2021(self) -> bool:
        """Whether the input is that of the project of 2021."""
        return self.parameters.windows == PROJECT_2021

    @property
    def prepares_on_device(self) -> bool:
        """ffmpeg's scaler works on the CPU."""
        return not self.of_2021

    def variant(self) -> list[Any]:
        """The head of 2021 is another."""
        return [self.parameters.windows]

    def window_rule(self) -> WindowRule:
        """64 frames at 30 Hz; or 72 at 24 Hz, read in the middle of their display."""
        if not self.of_2021:
            return super().window_rule()
        n_samples = len(FAST_2021)
        return WindowRule(n_samples / RATE_2021_HZ, 1 / RATE_2021_HZ, n_samples, self.parameters.align)

    def describe(self) -> dict[str, Any]:
        """The window, and the projection where there is one."""
        described = super().describe()
        if self.of_2021:
            described["window"] |= {
                "rate_hz": RATE_2021_HZ,
                "outside": "zeros",
                "crop": [TOP_2021, LEFT_2021],
            }
        return described

    def loaded(self) -> "torch.nn.Module":
        """The network with the head that the windows ask for."""
        network = super().loaded()
        if self.of_2021:
            # Its tool pooled over all frames of a window, whatever their number; pytorchvideo pools over 8 and 32.
            for pool, positions in zip(network.blocks[5].pool, (SLOW_2021, FAST_2021), strict=True):
                pool.kernel_size = (len(positions), 7, 7)
        return network

    def windows(self, info: FilmInfo) -> Windows:
        """A window every `hop_s`; only the frames that a pathway takes are sampled."""
        if not self.of_2021:
            return super().windows(info)
        rule = self.window_rule()
        samples_s = rule.sample_times(info.duration_s)
        outside = (samples_s < 0) | (samples_s > info.duration_s - TIME_TOLERANCE_S)
        times_s, pad_fraction = rule.times(info.duration_s), rule.pad_fraction(info.duration_s)
        return Windows(times_s, samples_s, pad_fraction, blank=outside)

    def official_transform(self) -> Any:
        """See `ClipRecipe` and `transform_of_2021`."""
        return transform_of_2021 if self.of_2021 else super().official_transform()


def transform_of_2021(picture: "torch.Tensor") -> "torch.Tensor":
    """A picture, (3, h, w) uint8, as the project of 2021 made it: (3, 256, 256) float32.

    Scaled to 365 x 258 by ffmpeg's scaler (bicubic, its default), whatever the film's aspect ratio, cropped,
    and normalised. That project encoded the film once more and kept the frames as JPEG, which is not done
    here, and read these as BGR, where the weights of pytorchvideo expect RGB, which they get here.
    """
    import av
    import torch

    frame = picture.permute(1, 2, 0).contiguous().numpy()
    scaled = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        width=WIDTH_2021, height=HEIGHT_2021, interpolation="BICUBIC", threads=1
    )
    pixels = scaled.to_ndarray(format="rgb24")[TOP_2021 : TOP_2021 + 256, LEFT_2021 : LEFT_2021 + 256]
    return normalised(torch.tensor(pixels).permute(2, 0, 1))
