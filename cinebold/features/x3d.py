"""X3D, trained on Kinetics-400 (Feichtenhofer 2020), in four sizes, by pytorchvideo."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cinebold.features.clips import ClipExtractor, ClipRecipe, zoo_source
from cinebold.features.nodes import Layer

if TYPE_CHECKING:
    import torch

_CHANNELS = {"stem": 24, "res2": 24, "res3": 48, "res4": 96, "res5": 192}


class X3D(ClipExtractor):
    """What the four sizes have in common.

    "avgpool" are the 2048 channels of the head's second convolution, which follows its pooling, after the ReLU;
    where the head's pooling leaves several places, their mean.
    """

    pooled_side: ClassVar[int]  #: places in a row that the head's pooling leaves

    @classmethod
    def layers_of(cls, parameters: Any) -> Mapping[str, Layer]:
        """Stages, pooled channels and classes."""
        layers = {
            "logits": Layer({"logits": (400,)}, classes="KINETICS400"),
            "avgpool": Layer({"avgpool": (2048, 1, cls.pooled_side, cls.pooled_side)}, always_pooled=True),
        }
        side = cls.recipe.crop
        for stage, channels in _CHANNELS.items():
            side = -(-side // 2)
            layers[stage] = Layer({stage: (channels, cls.recipe.n_frames, side, side)})
        return layers

    @staticmethod
    def built(builder: Callable[..., "torch.nn.Module"]) -> "torch.nn.Module":
        """Without the softmax that pytorchvideo puts before the mean over the places that the pooling leaves."""
        return builder(pretrained=False, head_activation=None)


class X3DXS(X3D):
    """Four frames in 1.6 s."""

    name = "x3d_xs"
    source = zoo_source("x3d_xs", "X3D_XS")
    recipe = ClipRecipe(n_frames=4, step=12, side=182, crop=182)
    pooled_side = 2


class X3DS(X3D):
    """Thirteen frames in 2.6 s."""

    name = "x3d_s"
    source = zoo_source("x3d_s", "X3D_S")
    recipe = ClipRecipe(n_frames=13, step=6, side=182, crop=182)
    pooled_side = 2


class X3DM(X3D):
    """Sixteen frames in 2.67 s."""

    name = "x3d_m"
    source = zoo_source("x3d_m", "X3D_M")
    recipe = ClipRecipe(n_frames=16, step=5, side=256, crop=256)
    pooled_side = 2


class X3DL(X3D):
    """Sixteen frames in 2.67 s, a deeper network on larger pictures.

    The page of torch.hub has no sizes for it. 356 is TEST_CROP_SIZE in configs/Kinetics/X3D_L.yaml of
    facebookresearch/SlowFast, as 256 and 182 are in those of X3D-M and X3D-S; 312, 224 and 160 are for training.
    """

    name = "x3d_l"
    source = zoo_source("x3d_l", "X3D_L")
    recipe = ClipRecipe(n_frames=16, step=5, side=356, crop=356)
    batch: Mapping[str, int] = {"cpu": 4, "cuda": 8}
    pooled_side = 3
