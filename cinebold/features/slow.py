"""Slow R50, 8 x 8, trained on Kinetics-400: the slow pathway alone (Feichtenhofer et al. 2019), by pytorchvideo."""

from collections.abc import Mapping
from typing import Any

from cinebold.features.clips import ClipExtractor, ClipRecipe, zoo_source
from cinebold.features.nodes import Layer

_CHANNELS = {"stem": 64, "res2": 256, "res3": 512, "res4": 1024, "res5": 2048}
_SIDES = {"stem": 64, "res2": 64, "res3": 32, "res4": 16, "res5": 8}


class SlowR50(ClipExtractor):
    """Windows of 2.13 s, eight frames each.

    "avgpool" is the network's own pooling: means over time and 7 x 7 places at stride 1, then over the 2 x 2 results.
    """

    name = "slow_r50"
    source = zoo_source("slow_r50", "SLOW_8x8_R50")
    recipe = ClipRecipe(n_frames=8, step=8, side=256, crop=256)

    @classmethod
    def layers_of(cls, parameters: Any) -> Mapping[str, Layer]:
        """Stages, pooled channels and classes."""
        stages = {
            stage: Layer({stage: (channels, cls.recipe.n_frames, _SIDES[stage], _SIDES[stage])})
            for stage, channels in _CHANNELS.items()
        }
        return {
            "logits": Layer({"logits": (400,)}, classes="KINETICS400"),
            "avgpool": Layer({"avgpool": (2048, 1, 2, 2)}, always_pooled=True),
            **stages,
        }
