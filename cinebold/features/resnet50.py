"""ResNet-50 (He et al. 2016), trained on ImageNet, by torchvision, frame by frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cinebold.features.framewise import FramewiseExtractor, check_clock, describe_clock
from cinebold.features.network_options import NetworkOptions
from cinebold.features.nodes import Layer, check_layer
from cinebold.features.weights import WeightsSource

if TYPE_CHECKING:
    import torch

#: torchvision publishes two sets of weights whose preprocessing differs; the name of the file says which it is.
SETS = {
    "resnet50-11ad3fa6.pth": "IMAGENET1K_V2",
    "resnet50-imagenet1k-v2.safetensors": "IMAGENET1K_V2",
    "resnet50-0676ba61.pth": "IMAGENET1K_V1",
    "resnet50-imagenet1k-v1.safetensors": "IMAGENET1K_V1",
}
SOURCE = WeightsSource(
    network="resnet50",
    file_names=tuple(SETS),
    url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
)
#: Convolutions are read after the ReLU that ends them or their stage.
LAYERS = {
    "conv1": Layer({"relu": (64, 112, 112)}),
    "layer1": Layer({"layer1": (256, 56, 56)}),
    "layer2": Layer({"layer2": (512, 28, 28)}),
    "layer3": Layer({"layer3": (1024, 14, 14)}),
    "layer4": Layer({"layer4": (2048, 7, 7)}),
    "avgpool": Layer({"avgpool": (2048, 1, 1)}, always_pooled=True),
    "logits": Layer({"fc": (1000,)}, classes="IMAGENET"),
}


@dataclass(frozen=True)
class ResNet50Parameters(NetworkOptions):
    """What is read from the network, and when."""

    layer: str = "avgpool"  #: conv1, layer1 to layer4, avgpool, logits
    hop_s: float = 0.5  #: width of the bins over which frames are averaged
    rate_hz: float = 10.0  #: frames a second that are looked at
    spatial: str = "full"  #: "full": every place of a convolution; "mean": the mean over its places
    n_projected: int = 4096  #: a layer of more numbers is projected at random to so many; 0: never
    projection_seed: int = 0

    def __post_init__(self) -> None:
        check_layer("resnet50", self, LAYERS)
        check_clock("resnet50", self)


class ResNet50(FramewiseExtractor):
    """One layer of ResNet-50, of the frames on display at the ticks of a clock, averaged over bins of `hop_s`."""

    name = "resnet50"
    parameter_kind = ResNet50Parameters
    source = SOURCE
    batch: Mapping[str, int] = {"cpu": 16, "cuda": 64}
    n_together = 4

    @property
    def weights_set(self) -> str:
        """Which of the two official sets of weights; random ones are given the input of the second."""
        return "IMAGENET1K_V2" if self.weights is None else SETS[self.weights.name]

    def layers(self) -> Mapping[str, Layer]:
        """The seven layers."""
        return LAYERS

    def describe(self) -> dict[str, Any]:
        """Clock, bins, preprocessing and projection."""
        return {
            "window": describe_clock(self.parameters),
            "preprocessing": self.weights_set,
            "projection": None if self.projection is None else self.projection.describe(),
        }

    def variant(self) -> list[Any]:
        """Equal weights under both names would be given different pictures."""
        return [self.weights_set]

    def untrained(self) -> "torch.nn.Module":
        """torchvision's network with drawn weights."""
        from cinebold.features.torchvision_guard import prepare_torchvision

        prepare_torchvision()
        from torchvision.models import resnet50

        return resnet50()

    def official_transform(self) -> Any:
        """Short side to 256 (first weights) or 232 (second), antialiased, central crop of 224 x 224, normalised."""
        from torchvision.models import ResNet50_Weights

        return ResNet50_Weights[self.weights_set].transforms()

    def unprojected_names(self) -> tuple[str, ...]:
        """The layer and a number; classes for the logits."""
        return tuple(
            name.replace("relu ", f"{self.parameters.layer} ", 1) for name in super().unprojected_names()
        )
