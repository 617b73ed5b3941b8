"""S3D, trained on Kinetics-400 (Xie et al. 2018), by torchvision."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.features.network import Windows
from cinebold.features.network_options import NetworkOptions
from cinebold.features.nodes import Layer, NodeExtractor, check_layer
from cinebold.features.parameters import require
from cinebold.features.weights import WeightsSource
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule, evenly_spaced_frames

if TYPE_CHECKING:
    import torch

SOURCE = WeightsSource(
    network="s3d",
    file_names=("s3d-d76dad2f.pth", "s3d.pth", "s3d.safetensors"),
    url="https://download.pytorch.org/models/s3d-d76dad2f.pth",
)
FEWEST_FRAMES = 14
#: Nodes before and inside the head: channels, side of the picture, how often time was halved.
_NODES = {
    "features.0": (64, 112, 1),
    "features.1": (64, 56, 1),
    "features.2": (64, 56, 1),
    "features.3": (192, 56, 1),
    "features.4": (192, 28, 1),
    "features.5.cat": (256, 28, 1),
    "features.6.cat": (480, 28, 1),
    "features.7": (480, 14, 2),
    "features.8.cat": (512, 14, 2),
    "features.9.cat": (512, 14, 2),
    "features.10.cat": (512, 14, 2),
    "features.11.cat": (528, 14, 2),
    "features.12.cat": (832, 14, 2),
    "features.13": (832, 7, 3),
    "features.14.cat": (832, 7, 3),
    "features.15.cat": (1024, 7, 3),
}
#: The seven nodes of BERG's model fmri-bmd-s3d, one after the other.
_BMD = (
    "features.2",
    "features.5.cat",
    "features.7",
    "features.9.cat",
    "features.11.cat",
    "features.13",
    "avgpool",
)


def layers_of(n_frames: int) -> dict[str, Layer]:
    """The layers by name, for windows of `n_frames` frames.

    "logits" are the scores of 400 classes and "avgpool" the 1024 channels that they are made of, both averaged over
    what the head leaves of time; "bmd" is BERG's concatenation; the others are nodes of the network.
    """
    half = -(-n_frames // 2)
    quarter = -(-half // 2)
    times = (n_frames, half, quarter, quarter // 2)
    shapes: dict[str, tuple[int, ...]] = {
        name: (channels, times[halved], side, side) for name, (channels, side, halved) in _NODES.items()
    }
    shapes["avgpool"] = (1024, times[3] - 1, 1, 1)
    return {
        "logits": Layer({"classifier": (400, times[3] - 1, 1, 1)}, always_pooled=True, classes="KINETICS400"),
        "avgpool": Layer({"avgpool": shapes["avgpool"]}, always_pooled=True),
        "bmd": Layer({node: shapes[node] for node in _BMD}),
        **{node: Layer({node: shapes[node]}) for node in _NODES},
    }


@dataclass(frozen=True)
class S3DParameters(NetworkOptions):
    """What is read from the network, and when."""

    layer: str = "logits"  #: "logits", "avgpool", "bmd" or a node of the network
    span_s: float = 2.0  #: length of a window
    frames: int = (
        30  #: evenly over a window; 15 a second, as in the evaluation of the weights, with the default span
    )
    hop_s: float = 0.5  #: between the reference times of two windows
    align: str = "centre"  #: where the reference time lies in its window: "centre", "end" or "start"
    #: one window, the whole film, whatever its length, for short clips; span_s, hop_s and align are not used
    whole_clip: bool = False
    spatial: str = "full"  #: "full": every place and time of a node; "mean": the mean of each channel
    n_projected: int = 4096  #: a layer of more numbers is projected at random to so many; 0: never
    projection_seed: int = 0

    def __post_init__(self) -> None:
        require("s3d", self.frames >= FEWEST_FRAMES, f"frames must be at least {FEWEST_FRAMES}", self.frames)
        require("s3d", self.span_s > 0, "span_s must be above 0", self.span_s)
        require("s3d", self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        choices = ("centre", "end", "start")
        require("s3d", self.align in choices, f"align must be one of {', '.join(choices)}", self.align)
        check_layer("s3d", self, layers_of(self.frames))

    def window_rule(self) -> WindowRule:
        """Not used for whole clips."""
        return WindowRule(self.span_s, self.hop_s, self.frames, self.align)


class S3D(NodeExtractor):
    """One layer of S3D, of windows of film time or of whole clips.

    With `frames = 14, whole_clip = true, layer = "bmd"` these are the features of BERG's fmri-bmd-s3d: 14 frames,
    evenly from the first to the last, and 4 084 096 numbers a clip, here projected to `n_projected`.
    """

    name = "s3d"
    parameter_kind = S3DParameters
    source = SOURCE
    batch: Mapping[str, int] = {"cpu": 4, "cuda": 8}

    def layers(self) -> Mapping[str, Layer]:
        """See `layers_of`."""
        return layers_of(self.parameters.frames)

    def describe(self) -> dict[str, Any]:
        """Windows and projection."""
        if self.parameters.whole_clip:
            window: dict[str, Any] = {"rule": "whole clip", "n_samples": self.parameters.frames}
        else:
            window = asdict(self.parameters.window_rule())
        return {
            "window": window,
            "projection": None if self.projection is None else self.projection.describe(),
        }

    def untrained(self) -> "torch.nn.Module":
        """torchvision's network with drawn weights."""
        from cinebold.features.torchvision_guard import prepare_torchvision

        prepare_torchvision()
        from torchvision.models.video import s3d

        return s3d()

    def official_transform(self) -> Any:
        """To 256 x 256 (bilinear, not antialiased, aspect not kept), central crop of 224 x 224, normalised."""
        from torchvision.models.video import S3D_Weights

        transform = S3D_Weights.KINETICS400_V1.transforms()
        return lambda picture: transform(picture[None])[:, 0]

    def windows(self, info: FilmInfo) -> Windows:
        """A window every `hop_s`, or one for the film."""
        if self.parameters.whole_clip:
            frames = evenly_spaced_frames(len(info.pts_s), self.parameters.frames)
            return Windows(np.array([info.duration_s / 2]), info.pts_s[None, frames], np.zeros(1))
        return Windows.of_rule(self.parameters.window_rule(), info.duration_s)

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, 3, n_frames, 224, 224)"""
        import torch

        return torch.stack([torch.stack(list(clip), dim=1) for clip in clips])
