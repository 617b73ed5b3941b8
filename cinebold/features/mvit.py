"""MViTv2-S (Li et al. 2022), trained on Kinetics-400, by torchvision."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cinebold.features.network import Windows
from cinebold.features.network_options import NetworkOptions
from cinebold.features.nodes import Layer, NodeExtractor, check_layer
from cinebold.features.parameters import require
from cinebold.features.weights import WeightsSource
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule

if TYPE_CHECKING:
    import torch

SOURCE = WeightsSource(
    network="mvit_v2_s",
    file_names=("mvit_v2_s-ae3be167.pth", "mvit_v2_s.pth", "mvit_v2_s.safetensors"),
    url="https://download.pytorch.org/models/mvit_v2_s-ae3be167.pth",
)
N_FRAMES, RATE_HZ = 16, 7.5
#: The tokens of a window lie on a grid of 8 times, whose places are pooled from block to block.
_N_TIMES = 8
_BLOCKS = [(96, 56), (192, 28), (192, 28), *[(384, 14)] * 11, (768, 7), (768, 7)]
#: "cls" is the class token after the last norm, of which the classes are made.
LAYERS = {
    **{
        f"blocks.{index}": Layer({f"blocks.{index}": (channels, _N_TIMES, side, side)})
        for index, (channels, side) in enumerate(_BLOCKS)
    },
    "cls": Layer({"cls": (768,)}),
    "logits": Layer({"logits": (400,)}, classes="KINETICS400"),
}


@dataclass(frozen=True)
class MViTParameters(NetworkOptions):
    """What is read from the network, and when."""

    layer: str = "cls"  #: "blocks.0" to "blocks.15", "cls", "logits"
    hop_s: float = 0.5  #: between the reference times of two windows
    align: str = "centre"  #: where the reference time lies in its window: "centre", "end" or "start"
    spatial: str = "full"  #: "full": every place and time of a block; "mean": the mean over its tokens
    n_projected: int = 4096  #: a layer of more numbers is projected at random to so many; 0: never
    projection_seed: int = 0

    def __post_init__(self) -> None:
        require("mvit_v2_s", self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        choices = ("centre", "end", "start")
        require("mvit_v2_s", self.align in choices, f"align must be one of {', '.join(choices)}", self.align)
        check_layer("mvit_v2_s", self, LAYERS)

    def window_rule(self) -> WindowRule:
        """Sixteen frames at 7.5 Hz, as in the evaluation of the weights."""
        return WindowRule(N_FRAMES / RATE_HZ, self.hop_s, N_FRAMES, self.align)


def token_reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
    """A function of a batch that gives the activations of nodes; what comes after the deepest is not computed.

    Tokens of blocks are laid out as (n_windows, n_channels, n_times, height, width), without the class token. The
    graph that torchvision 0.28 traces of this network gives other numbers than the network, so it is walked through.
    """
    deepest = max(list(LAYERS).index(node) for node in nodes)

    def read(batch: "torch.Tensor") -> Mapping[str, "torch.Tensor"]:
        found: dict[str, torch.Tensor] = {}
        positions = network.pos_encoding
        tokens = positions(network.conv_proj(batch).flatten(2).transpose(1, 2))
        grid = (positions.temporal_size, *positions.spatial_size)
        for index, block in enumerate(network.blocks[: deepest + 1]):
            tokens, grid = block(tokens, grid)
            if f"blocks.{index}" in nodes:
                found[f"blocks.{index}"] = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
        if deepest >= len(network.blocks):
            found["cls"] = network.norm(tokens)[:, 0]
            found["logits"] = network.head(found["cls"])
        return {node: found[node] for node in nodes}

    return read


class MViTv2S(NodeExtractor):
    """One layer of MViTv2-S, of windows of 16 frames, 2.13 s."""

    name = "mvit_v2_s"
    parameter_kind = MViTParameters
    source = SOURCE
    batch: Mapping[str, int] = {"cpu": 4, "cuda": 8}
    reader = staticmethod(token_reader)

    def layers(self) -> Mapping[str, Layer]:
        """Sixteen blocks, the class token, the classes."""
        return LAYERS

    def describe(self) -> dict[str, Any]:
        """Windows and projection."""
        return {
            "window": asdict(self.parameters.window_rule()),
            "projection": None if self.projection is None else self.projection.describe(),
        }

    def untrained(self) -> "torch.nn.Module":
        """torchvision's network with drawn weights."""
        from cinebold.features.torchvision_guard import prepare_torchvision

        prepare_torchvision()
        from torchvision.models.video import mvit_v2_s

        return mvit_v2_s()

    def official_transform(self) -> Any:
        """Short side to 256 (bilinear, not antialiased), central crop of 224 x 224, mean 0.45, deviation 0.225."""
        from torchvision.models.video import MViT_V2_S_Weights

        transform = MViT_V2_S_Weights.KINETICS400_V1.transforms()
        return lambda picture: transform(picture[None])[:, 0]

    def windows(self, info: FilmInfo) -> Windows:
        """A window every `hop_s`."""
        return Windows.of_rule(self.parameters.window_rule(), info.duration_s)

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, 3, 16, 224, 224)"""
        import torch

        return torch.stack([torch.stack(list(clip), dim=1) for clip in clips])
