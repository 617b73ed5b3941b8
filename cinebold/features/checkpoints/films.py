"""Encoders of films, by transformers: V-JEPA 2 and VideoMAE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cinebold.features.checkpoints.extractor import check_frames, check_square
from cinebold.features.checkpoints.pictures import IMAGENET, PictureRecipe
from cinebold.features.checkpoints.tokens import ClipTokenParameters, ClipTokens, encoder_reader
from cinebold.features.parameters import require

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class VJEPA2Parameters(ClipTokenParameters):
    """What is read from V-JEPA 2, and when."""

    step_s: float = 1 / 16  #: 64 frames are 4 s; the network was trained on steps of 1/4 s
    frames: int = 0  #: of a window; 0: as many as the checkpoint is for

    def __post_init__(self) -> None:
        self.check("vjepa2", VJEPA2.outputs)
        require("vjepa2", self.frames >= 0, "frames must not be negative", self.frames)


class VJEPA2(ClipTokens):
    """The encoder of V-JEPA 2 (Assran et al. 2025): tokens of 2 frames and 16 x 16 pixels."""

    name = "vjepa2"
    parameter_kind = VJEPA2Parameters
    hub_name = "facebook/vjepa2-vitl-fpc64-256"
    model_types = ("vjepa2",)
    outputs = ("last",)
    unused = ("pooler.", "classifier.")
    not_needed = ("predictor.",)
    default_recipe = PictureRecipe(short_side=292, crop=(256, 256), **IMAGENET)
    batch: Mapping[str, int] = {"cpu": 2, "cuda": 4}

    @staticmethod
    def reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
        """The predictor is skipped."""
        outputs = {"last": "last_hidden_state"}
        return encoder_reader(network, nodes, blocks="encoder.layer", outputs=outputs, skip_predictor=True)

    @property
    def n_frames(self) -> int:
        """Frames of a window; the network's rotary positions allow any number."""
        return self.parameters.frames or int(self.config.frames_per_clip)

    def shape(self, layer: str) -> tuple[int, ...]:
        """(n_channels, n_tokens)"""
        check_frames(self.name, self.n_frames, self.config)
        # Positions of tokens are counted along this side, whatever the pictures' own.
        check_square(self.folder and self.folder.path, self.recipe, int(self.config.crop_size))
        return super().shape(layer)

    def network_class(self, transformers: Any) -> Any:
        """The library's class."""
        return transformers.VJEPA2Model

    def default_configuration(self, transformers: Any) -> Any:
        """ViT-L for 64 frames of 256 x 256 pixels."""
        return transformers.VJEPA2Config()


@dataclass(frozen=True, kw_only=True)
class VideoMAEParameters(ClipTokenParameters):
    """What is read from VideoMAE, and when."""

    def __post_init__(self) -> None:
        self.check("videomae", VideoMAE.outputs)


class VideoMAE(ClipTokens):
    """The encoder of VideoMAE (Tong et al. 2022), pretrained or fine-tuned: 16 frames."""

    name = "videomae"
    parameter_kind = VideoMAEParameters
    hub_name = "MCG-NJU/videomae-base"
    model_types = ("videomae",)
    outputs = ("last",)
    unused = ("classifier.", "fc_norm.", "decoder.", "encoder_to_decoder.", "mask_token")
    default_recipe = PictureRecipe(short_side=224, crop=(224, 224), **IMAGENET)

    @staticmethod
    def reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
        """Tokens of blocks, or after the last norm; a fine-tuned network has none there."""
        return encoder_reader(network, nodes, blocks="encoder.layer", outputs={"last": "last_hidden_state"})

    @property
    def n_frames(self) -> int:
        """Frames of a window; the network's positions fix them."""
        return int(self.config.num_frames)

    def shape(self, layer: str) -> tuple[int, ...]:
        """(n_channels, n_tokens)"""
        check_square(self.folder and self.folder.path, self.recipe, int(self.config.image_size))
        return super().shape(layer)

    def network_class(self, transformers: Any) -> Any:
        """The library's class."""
        return transformers.VideoMAEModel

    def default_configuration(self, transformers: Any) -> Any:
        """ViT-B for 16 frames of 224 x 224 pixels."""
        return transformers.VideoMAEConfig()
