"""Encoders of single pictures, by transformers: CLIP's vision tower and DINOv2."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cinebold.features.checkpoints.extractor import check_square
from cinebold.features.checkpoints.pictures import IMAGENET, PictureRecipe
from cinebold.features.checkpoints.tokens import FrameTokenParameters, FrameTokens, encoder_reader

if TYPE_CHECKING:
    import torch

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class CLIPParameters(FrameTokenParameters):
    """What is read from CLIP, and when."""

    layer: str = "embedding"  #: "embedding", which CLIP compares with texts, or a hidden state

    def __post_init__(self) -> None:
        self.check("clip", CLIP.outputs)


class CLIP(FrameTokens):
    """The vision tower of CLIP (Radford et al. 2021)."""

    name = "clip"
    parameter_kind = CLIPParameters
    hub_name = "openai/clip-vit-base-patch32"
    model_types = ("clip", "clip_vision_model")
    outputs = ("embedding",)
    unused = ("text_model.", "text_projection.", "logit_scale")
    default_recipe = PictureRecipe(short_side=224, crop=(224, 224), resample=3, mean=CLIP_MEAN, std=CLIP_STD)

    @staticmethod
    def reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
        """The projected class token, or tokens of blocks."""
        return encoder_reader(
            network,
            nodes,
            blocks="vision_model.encoder.layers",
            outputs={"embedding": "image_embeds"},
            n_extra=lambda config: 1,
        )

    def shape(self, layer: str) -> tuple[int, ...]:
        """See `FrameTokens`."""
        check_square(self.folder and self.folder.path, self.recipe, int(self.config.image_size))
        return super().shape(layer)

    def network_class(self, transformers: Any) -> Any:
        """The library's class."""
        return transformers.CLIPVisionModelWithProjection

    def default_configuration(self, transformers: Any) -> Any:
        """ViT-B/32."""
        return transformers.CLIPVisionConfig()

    def _configuration(self) -> Any:
        whole = super()._configuration()
        if whole.model_type == "clip":
            vision = whole.vision_config
            vision.projection_dim = whole.projection_dim
            return vision
        return whole


@dataclass(frozen=True, kw_only=True)
class DINOv2Parameters(FrameTokenParameters):
    """What is read from DINOv2, and when."""

    tokens: str = (
        "cls"  #: of hidden states and "last": "patches", without the class token, or "cls", it alone
    )

    def __post_init__(self) -> None:
        self.check("dinov2", DINOv2.outputs)


class DINOv2(FrameTokens):
    """DINOv2 (Oquab et al. 2023), with or without registers."""

    name = "dinov2"
    parameter_kind = DINOv2Parameters
    hub_name = "facebook/dinov2-base"
    model_types = ("dinov2", "dinov2_with_registers")
    outputs = ("last",)
    unused = ("classifier.",)
    default_recipe = PictureRecipe(short_side=256, crop=(224, 224), resample=3, **IMAGENET)

    @staticmethod
    def reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
        """Tokens of blocks, or after the last norm; registers are left out."""
        return encoder_reader(
            network,
            nodes,
            blocks="encoder.layer",
            outputs={"last": "last_hidden_state"},
            n_extra=lambda config: 1 + getattr(config, "num_register_tokens", 0),
        )

    def network_class(self, transformers: Any) -> Any:
        """The library's class."""
        with_registers = self.config.model_type == "dinov2_with_registers"
        return transformers.Dinov2WithRegistersModel if with_registers else transformers.Dinov2Model

    def default_configuration(self, transformers: Any) -> Any:
        """ViT-B/14, positions for 518 x 518 pixels."""
        return transformers.Dinov2Config(image_size=518)
