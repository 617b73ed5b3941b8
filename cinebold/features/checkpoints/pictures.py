"""Frames prepared for a network as its preprocessor's numbers say: resized, cropped, scaled, normalised."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import InputError

if TYPE_CHECKING:
    import torch

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
#: Steps that would change the picture and are not done here.
_REFUSED = (
    "do_pad",
    "do_flip_channel_order",
    "do_thumbnail",
    "do_align_long_axis",
    "do_reduce_labels",
    "offset",
)


@dataclass(frozen=True)
class PictureRecipe:
    """What a frame goes through: resized by Pillow, cropped in the middle, scaled, normalised.

    Numbers of `resample` are Pillow's (2 bilinear, 3 bicubic). The library's processors for films, and its newer ones
    for pictures, resize with torch, which rounds otherwise: one grey level here and there.
    """

    short_side: int | None = None  #: pixels; the aspect is kept
    size: tuple[int, int] | None = None  #: height and width instead, whatever the aspect
    resample: int = 2
    crop: tuple[int, int] | None = None  #: height and width of what is kept of the middle
    factor: float = 1 / 255  #: 1 where bytes stay as they are
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of what the network is given."""
        found = self.crop or self.size
        assert found is not None  # see recipe_of
        return found

    def __call__(self, picture: "torch.Tensor") -> "torch.Tensor":
        """A picture, (3, h, w) uint8, as the network wants it: (3, height, width) float32."""
        import torch
        from PIL import Image

        height, width = picture.shape[1:]
        pixels = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
        size = self.size
        if self.short_side is not None:
            short = min(height, width)
            size = (int(self.short_side * height / short), int(self.short_side * width / short))
        if size is not None and size != (height, width):
            pixels = pixels.resize((size[1], size[0]), self.resample)
        values = np.asarray(pixels)
        if self.crop is not None:
            top, left = (values.shape[0] - self.crop[0]) // 2, (values.shape[1] - self.crop[1]) // 2
            values = values[top : top + self.crop[0], left : left + self.crop[1]]
        levels = np.arange(256)[:, None] * self.factor
        table = ((levels - np.array(self.mean)) / np.array(self.std)).astype(np.float32)  # (256, 3)
        channels = [table[values[..., channel], channel] for channel in range(3)]
        return torch.from_numpy(np.stack(channels))


def recipe_of(table: Mapping[str, Any], path: Path) -> PictureRecipe:
    """The recipe that a preprocessor's file holds.

    Raises
    ------
    InputError
        When it asks for a step that is not done here, or leaves the size of the pictures open.
    """
    for name in _REFUSED:
        if table.get(name):
            raise InputError(f"{path}: the preprocessing step {name} is not supported.")
    if "crop_pct" in table and table["crop_pct"] is not None:
        raise InputError(f"{path}: preprocessing with crop_pct is not supported.")
    steps: dict[str, Any] = {}
    size, crop = table.get("size"), table.get("crop_size")
    if isinstance(size, Mapping):
        size = {name: value for name, value in size.items() if value is not None}
        if set(size) == {"shortest_edge"}:
            size = int(size["shortest_edge"])
            steps["short_side"] = size
    if not table.get("do_center_crop", crop is not None):
        crop = None
    elif crop is None and isinstance(size, int):
        crop = size  # as the oldest files have it
    if crop is not None:
        steps["crop"] = _height_and_width(crop, "crop_size", path)
        if isinstance(size, int):
            steps["short_side"] = size
    if table.get("do_resize", True):
        steps["resample"] = int(table.get("resample", 2))
        if "short_side" not in steps:
            steps["size"] = _height_and_width(size, "size", path)
    else:
        steps.pop("short_side", None)
    if table.get("do_rescale", True):
        steps["factor"] = float(table.get("rescale_factor", 1 / 255))
    else:
        steps["factor"] = 1.0
    if table.get("do_normalize", True):
        steps["mean"], steps["std"] = (
            _three(table.get(name), name, path) for name in ("image_mean", "image_std")
        )
    recipe = PictureRecipe(**steps)
    if recipe.crop is None and recipe.size is None:
        raise InputError(f"{path}: expected a size of pictures that does not depend on the film, found none.")
    least = recipe.size or (recipe.short_side, recipe.short_side)
    if recipe.crop is not None and (
        None in least or any(a < b for a, b in zip(least, recipe.crop, strict=True))
    ):
        raise InputError(f"{path}: expected pictures no smaller than crop_size {recipe.crop}, found {least}.")
    return recipe


def _height_and_width(value: Any, name: str, path: Path) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if isinstance(value, Mapping) and {"height", "width"} <= set(value):
        return int(value["height"]), int(value["width"])
    raise InputError(f"{path}: expected {name} as a number or with height and width, found {value!r}.")


def _three(value: Any, name: str, path: Path) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise InputError(f"{path}: expected three numbers {name}, found {value!r}.")
    return tuple(float(one) for one in value)
