"""Networks for single pictures: which frames of a film they see, and how these are averaged over time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cinebold.features.network import Windows
from cinebold.features.nodes import NodeExtractor
from cinebold.features.parameters import require
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule

if TYPE_CHECKING:
    import torch


def check_clock(extractor: str, parameters: Any) -> None:
    """Raise SettingError unless `hop_s` and `rate_hz` of the parameters make sense together."""
    require(extractor, parameters.hop_s > 0, "hop_s must be above 0", parameters.hop_s)
    require(
        extractor,
        1 / parameters.hop_s <= parameters.rate_hz <= 120,
        "rate_hz must be from 1 / hop_s, a frame a bin, to 120",
        parameters.rate_hz,
    )


def clock_windows(parameters: Any, info: FilmInfo) -> Windows:
    """The frame at the middle of every tick of `rate_hz`, averaged over bins of `hop_s`."""
    period_s = 1 / parameters.rate_hz
    return Windows.of_rule(WindowRule(period_s, period_s, 1), info.duration_s, parameters.hop_s)


def describe_clock(parameters: Any) -> dict[str, Any]:
    """For a fingerprint."""
    hop_s = parameters.hop_s
    return {"rule": "bins", "span_s": hop_s, "hop_s": hop_s, "rate_hz": parameters.rate_hz}


class FramewiseExtractor(NodeExtractor):
    """A network of torchvision that sees one frame at a time; its parameters have `hop_s` and `rate_hz`.

    The layer is pooled or projected, then averaged over time; all are linear, so their order does not matter.
    """

    def windows(self, info: FilmInfo) -> Windows:
        """A frame at the middle of every tick."""
        return clock_windows(self.parameters, info)

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, 3, height, width)"""
        import torch

        return torch.stack([frame for (frame,) in clips])
