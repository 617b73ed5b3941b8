"""AlexNet, trained on ImageNet (Krizhevsky 2014), by torchvision, frame by frame; as in Wen et al. 2018.

Wen et al. (Cerebral Cortex 28, 4136-4160) related eight layers of AlexNet to responses to films. Their network was
Caffe's (96 filters in conv1, 290 400 numbers); torchvision's is the one-tower version of 2014 (64 filters, 193 600).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.features.framewise import FramewiseExtractor, check_clock, describe_clock
from cinebold.features.network_options import NetworkOptions
from cinebold.features.nodes import Layer, check_layer
from cinebold.features.weights import WeightsSource

if TYPE_CHECKING:
    import torch

SOURCE = WeightsSource(
    network="alexnet",
    file_names=("alexnet-owt-7be5be79.pth", "alexnet.pth", "alexnet.safetensors"),
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)
#: Convolutions and fully connected layers are read after their ReLU, the former before the pooling that follows
#: conv1, conv2 and conv5; so did Caffe, whose ReLU works in place. fc8 is before the softmax.
LAYERS = {
    "conv1": Layer({"features.1": (64, 55, 55)}),
    "conv2": Layer({"features.4": (192, 27, 27)}),
    "conv3": Layer({"features.7": (384, 13, 13)}),
    "conv4": Layer({"features.9": (256, 13, 13)}),
    "conv5": Layer({"features.11": (256, 13, 13)}),
    "fc6": Layer({"classifier.2": (4096,)}),
    "fc7": Layer({"classifier.5": (4096,)}),
    "fc8": Layer({"classifier.6": (1000,)}, classes="IMAGENET"),
}
#: log10(x + 0.01), from the authors' published script that prepares AlexNet features (2017).
LOG_OFFSET = 0.01


@dataclass(frozen=True)
class AlexNetParameters(NetworkOptions):
    """What is read from the network, and when."""

    layer: str = "conv1"  #: conv1 to conv5, fc6, fc7, fc8
    #: log10(x + 0.01) of every number; not of fc8, whose scores can be negative (as Wen et al. did)
    log: bool = True
    hop_s: float = 0.5  #: width of the bins over which frames are averaged
    rate_hz: float = 10.0  #: frames a second that are looked at
    spatial: str = "full"  #: "full": every place of a convolution; "mean": the mean over its places
    n_projected: int = 4096  #: a layer of more numbers is projected at random to so many; 0: never
    projection_seed: int = 0

    def __post_init__(self) -> None:
        check_layer("alexnet", self, LAYERS)
        check_clock("alexnet", self)


class AlexNet(FramewiseExtractor):
    """One layer of AlexNet, of the frames on display at the ticks of a clock, averaged over bins of `hop_s`.

    Every number is transformed (`log`) before all else.
    """

    name = "alexnet"
    parameter_kind = AlexNetParameters
    source = SOURCE
    batch: Mapping[str, int] = {"cpu": 32, "cuda": 64}
    n_together = 8

    def layers(self) -> Mapping[str, Layer]:
        """The eight layers."""
        return LAYERS

    @property
    def is_log(self) -> bool:
        """Whether numbers are transformed."""
        return self.parameters.log and self.parameters.layer != "fc8"

    def describe(self) -> dict[str, Any]:
        """Clock, bins, transform and projection."""
        return {
            "window": describe_clock(self.parameters),
            "transform": f"log10(x + {LOG_OFFSET})" if self.is_log else "none",
            "projection": None if self.projection is None else self.projection.describe(),
        }

    def untrained(self) -> "torch.nn.Module":
        """torchvision's network with drawn weights."""
        from cinebold.features.torchvision_guard import prepare_torchvision

        prepare_torchvision()
        from torchvision.models import alexnet

        return alexnet()

    def official_transform(self) -> Any:
        """Short side to 256 (antialiased), central crop of 224 x 224, mean and standard deviation of ImageNet."""
        from torchvision.models import AlexNet_Weights

        return AlexNet_Weights.IMAGENET1K_V1.transforms()

    def unit_transform(self, activations: np.ndarray) -> np.ndarray:
        """log10(x + 0.01), or nothing."""
        return np.log10(activations + np.float32(LOG_OFFSET)) if self.is_log else activations

    def unprojected_names(self) -> tuple[str, ...]:
        """The layer and a number; classes for fc8."""
        return tuple(
            name.replace(*self.layer.nodes, self.parameters.layer) for name in super().unprojected_names()
        )
