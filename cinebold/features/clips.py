"""Networks of pytorchvideo: what their official evaluation sees of a film, and how their stages are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cinebold.features.folding import fold_normalisation
from cinebold.features.network import Windows
from cinebold.features.network_options import NetworkOptions
from cinebold.features.nodes import Layer, NodeExtractor, check_layer
from cinebold.features.parameters import require
from cinebold.features.weights import WeightsSource
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule

if TYPE_CHECKING:
    import torch

RATE_HZ = 30  #: of the frames that the networks were trained on
MEAN, STD = 0.45, 0.225
#: What is read, in the order in which it is computed. "avgpool" is what the classes are made of.
STAGES = ("stem", "res2", "res3", "res4", "res5", "avgpool", "logits")
ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"


@dataclass(frozen=True)
class ClipRecipe:
    """Frames and pixels of a window, as in pytorchvideo's page of the network on torch.hub."""

    n_frames: int
    step: int  #: frames of 30 Hz for each that is taken
    side: int  #: of the short side, pixels
    crop: int  #: of the square in the middle, pixels

    @property
    def n_samples(self) -> int:
        """Frames of 30 Hz that a window spans."""
        return self.n_frames * self.step

    @property
    def positions(self) -> np.ndarray:
        """(n_frames,) of the frames that are taken, truncated as `torch.linspace(...).long()` does it; not a stride."""
        return np.linspace(0, self.n_samples - 1, self.n_frames).astype(int)

    def transform(self, picture: "torch.Tensor") -> "torch.Tensor":
        """A picture, (3, h, w) uint8, as the network wants it: (3, crop, crop) float32.

        The steps, their order and roundings are those of NormalizeVideo, ShortSideScale and CenterCropVideo.
        """
        import torch

        pixels = normalised(picture)
        height, width = pixels.shape[1:]
        if width < height:
            size = (int(height / width * self.side), self.side)
        else:
            size = (self.side, int(width / height * self.side))
        pixels = torch.nn.functional.interpolate(
            pixels[None], size=size, mode="bilinear", align_corners=False
        )[0]
        top, left = round((size[0] - self.crop) / 2), round((size[1] - self.crop) / 2)
        return pixels[:, top : top + self.crop, left : left + self.crop]


def normalised(picture: "torch.Tensor") -> "torch.Tensor":
    """Bytes to float32 about 0."""
    return (picture.float() / 255 - MEAN) / STD


def zoo_source(network: str, checkpoint: str) -> WeightsSource:
    """A checkpoint of pytorchvideo's model zoo."""
    return WeightsSource(
        network=network,
        file_names=(f"{checkpoint}.pyth", f"{network}.pyth", f"{network}.pth", f"{network}.safetensors"),
        url=f"{ZOO}/{checkpoint}.pyth",
        state_key="model_state",
    )


@dataclass(frozen=True)
class ClipParameters(NetworkOptions):
    """What is read from the network, and when."""

    layer: str = "logits"  #: "logits": 400 classes, before the softmax; "avgpool"; "stem"; "res2" to "res5"
    hop_s: float = 0.5  #: between the reference times of two windows
    align: str = "centre"  #: where the reference time lies in its window: "centre", "end" or "start"
    spatial: str = "full"  #: "full": every place and time of a stage; "mean": the mean of each channel
    n_projected: int = 4096  #: a layer of more numbers is projected at random to so many; 0: never
    projection_seed: int = 0


def stage_reader(
    network: "torch.nn.Module",
    nodes: Sequence[str],
    *,
    enter: Callable[["torch.Tensor"], Any] = lambda batch: batch,
    split: Callable[[str, Any], Mapping[str, "torch.Tensor"]] = lambda stage, output: {stage: output},
) -> Callable[["torch.Tensor"], dict[str, "torch.Tensor"]]:
    """A function of a batch that gives the activations of nodes; blocks after the deepest are not computed.

    Parameters
    ----------
    nodes : called by their stage (`STAGES`), or by their stage and a word
    enter : from a batch to what the first block takes
    split : from a stage and what its block gives to nodes and activations
    """
    wanted = {node.split(" ")[0] for node in nodes}
    n_blocks = 1 + max(STAGES.index(stage) for stage in wanted)

    def evaluated(batch: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        found: dict[str, torch.Tensor] = {}
        values = enter(batch)
        for stage, block in zip(STAGES[:n_blocks], network.blocks, strict=False):
            values = block(values)
            if stage in wanted:
                found |= split(stage, values)
        return {node: found[node] for node in nodes}

    return evaluated


class ClipExtractor(NodeExtractor):
    """A network of pytorchvideo: windows of 30 Hz film time, a batch of which is (n, 3, n_frames, crop, crop)."""

    parameter_kind = ClipParameters
    recipe: ClassVar[ClipRecipe]
    reader = staticmethod(stage_reader)
    prepares_on_device = True
    batch: Mapping[str, int] = {"cpu": 8, "cuda": 16}

    @classmethod
    def check_parameters(cls, given: Mapping[str, Any]) -> Any:
        """The parameters that `given` means; SettingError when it makes no sense."""
        parameters = super().check_parameters(given)
        cls.check(parameters)
        return parameters

    @classmethod
    def check(cls, parameters: Any) -> None:
        """Raise SettingError unless the parameters make sense together."""
        cls.check_times(parameters)
        check_layer(cls.name, parameters, cls.layers_of(parameters))

    @classmethod
    def check_times(cls, parameters: Any) -> None:
        """Raise SettingError unless the windows know `hop_s` and `align`."""
        require(cls.name, parameters.hop_s > 0, "hop_s must be above 0", parameters.hop_s)
        choices = ("centre", "end", "start")
        require(
            cls.name,
            parameters.align in choices,
            f"align must be one of {', '.join(choices)}",
            parameters.align,
        )

    @classmethod
    def layers_of(cls, parameters: Any) -> Mapping[str, Layer]:
        """The layers by name."""
        raise NotImplementedError

    def layers(self) -> Mapping[str, Layer]:
        """See `layers_of`."""
        return self.layers_of(self.parameters)

    def window_rule(self) -> WindowRule:
        """The frames of 30 Hz that windows span."""
        n_samples = self.recipe.n_samples
        return WindowRule(n_samples / RATE_HZ, self.parameters.hop_s, n_samples, self.parameters.align)

    def describe(self) -> dict[str, Any]:
        """The window, and the projection where there is one."""
        window = {"window": {**asdict(self.window_rule()), "rate_hz": RATE_HZ}}
        return window if self.projection is None else {**window, "projection": self.projection.describe()}

    def windows(self, info: FilmInfo) -> Windows:
        """A window every `hop_s`; only the frames that the network takes are sampled."""
        rule = self.window_rule()
        return Windows(
            rule.times(info.duration_s),
            rule.sample_times(info.duration_s)[:, self.recipe.positions],
            rule.pad_fraction(info.duration_s),
        )

    def official_transform(self) -> Any:
        """See `ClipRecipe`."""
        return self.recipe.transform

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, 3, n_frames, crop, crop)"""
        import torch

        return torch.stack([torch.stack(list(clip), dim=1) for clip in clips])

    def loaded(self) -> "torch.nn.Module":
        """The network, its head cut in two (what pools, what makes classes of it) and its normalisations folded."""
        network = super().loaded()
        fold_normalisation(network)
        head = network.blocks[-1]
        if head.pool is not None:
            network.blocks.insert(len(network.blocks) - 1, head.pool)
            head.pool = None
        for part in network.modules():
            # Some of these are numbers of numpy, which torch.compile does not take.
            for name in ("kernel_size", "stride", "padding", "dilation"):
                sizes = getattr(part, name, None)
                if isinstance(sizes, list | tuple):
                    setattr(part, name, tuple(map(int, sizes)))
        return network

    def untrained(self) -> "torch.nn.Module":
        """pytorchvideo's network with drawn weights; its output is not passed through a softmax."""
        from cinebold.features.torchvision_guard import prepare_torchvision

        prepare_torchvision()
        from pytorchvideo.models import hub

        return self.built(getattr(hub, self.name))

    @staticmethod
    def built(builder: Callable[..., "torch.nn.Module"]) -> "torch.nn.Module":
        """The network of a function of `pytorchvideo.models.hub`."""
        return builder(pretrained=False)
