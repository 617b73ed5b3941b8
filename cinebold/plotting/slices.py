"""A map on slices of the MNI template."""

import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np

from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.geometry import Geometry, VolumeGeometry
from cinebold.bold.maps import geometry_of_map, map_values
from cinebold.errors import InputError
from cinebold.plotting.colouring import Scale, scale_for
from cinebold.plotting.figure_set import NotDrawnError
from cinebold.plotting.style import INK, MUTED, drawing

#: Slice positions in mm, denser where films drive the brain.
_POSITIONS_MM = {
    "z": (-22, -10, 2, 14, 26, 42, 58),
    "y": (-92, -78, -64, -48, -28, 2, 32),
    "x": (-50, -34, -8, 8, 38),
}
#: What is shown of the template, in mm; a little more than the brain.
_BOX_MM = {"x": (-74, 74), "y": (-110, 74), "z": (-64, 82)}  # on the template's voxels: even numbers
_TEMPLATE_MM = 2


def statmap_slices(
    image_path: str | Path,
    out_png: str | Path,
    *,
    title: str,
    unit: str = "",
    threshold: float | None = None,
    vmax: float | None = None,
    symmetric: bool = False,
    q_image: str | Path | None = None,
    q: float = 0.05,
    only_significant: bool = False,
    scale: Scale | None = None,
) -> Path:
    """A mosaic of axial, coronal and sagittal slices and a colour bar; the left is on the left.

    Parameters
    ----------
    image_path : a 3-D map in an MNI space; NaN is "no value"
    unit : what the colour bar says
    threshold : values below it (in magnitude, when `symmetric`) fade out
    vmax : the value of the brightest colour; None: the 99.9th percentile of the map
    symmetric : whether negative values are shown too, in blue
    q_image : a map of q values on the same grid; the region where they are below `q` is outlined
    only_significant : nothing outside that region is shown
    scale : how values become colours; None: as `threshold`, `vmax` and `symmetric` say

    Of grayordinates those that are voxels are shown.

    Raises InputError when an image is not 3-D or the two grids differ, NotDrawnError when the map has no voxels.
    """
    image = read_map(image_path)
    values = np.asanyarray(image.dataobj, dtype=np.float32)
    significant = None
    if q_image is not None:
        significant = _significant_voxels(q_image, image, q)
        if only_significant:
            values = np.where(significant, values, np.nan)
    if scale is None:
        scale = scale_for(values, threshold=threshold, vmax=vmax, symmetric=symmetric)

    template, anatomy = _template()
    resample = partial(_categories_on_template, n=scale.categories) if scale.categories else _on_template
    coloured = scale.rgba(_inside_box(resample(values, image.affine, template), template.affine))
    outline = None
    if significant is not None and not only_significant and significant.any():
        resampled = _on_template(significant.astype(np.float32), image.affine, template)
        outline = _inside_box(np.nan_to_num(resampled), template.affine)

    size_mm = {axis: high - low for axis, (low, high) in _BOX_MM.items()}
    row_width = 7 * size_mm["x"]
    label, head, foot, bar = 13.0, 34.0, 2.0, 150.0 if scale.categories else 110.0
    height = head + size_mm["y"] + 2 * size_mm["z"] + 3 * label + foot
    width = row_width + bar
    mm_per_inch = width / 10.4
    with drawing(out_png, width / mm_per_inch, height / mm_per_inch, dpi=106) as figure:
        figure.text(0.008, 1 - 0.36 * head / height, title, fontsize=11, fontweight="bold", va="center")
        top = head
        for axis, across, up in (("z", "x", "y"), ("y", "x", "z"), ("x", "y", "z")):
            positions = _POSITIONS_MM[axis]
            free = row_width - len(positions) * size_mm[across]
            left = 0.0
            for position in positions:
                box = (
                    left / width,
                    1 - (top + size_mm[up]) / height,
                    size_mm[across] / width,
                    size_mm[up] / height,
                )
                axes = figure.add_axes(box)
                axes.set_axis_off()
                index = round((position - _BOX_MM[axis][0]) / _TEMPLATE_MM)
                dimension = "xyz".index(axis)
                grey = np.clip(np.take(anatomy, index, dimension).T, 0, 1)
                # A light, slightly blue-grey brain: the colours of the map are all darker or warmer than it.
                shade = 0.32 + 0.62 * grey
                brain = np.stack([shade, shade, shade, (grey > 0.02).astype(float)], axis=-1)
                extent = (*_BOX_MM[across], *_BOX_MM[up])
                axes.imshow(brain, origin="lower", extent=extent, interpolation="bilinear")
                layer = np.take(coloured, index, dimension).transpose(1, 0, 2)
                axes.imshow(layer, origin="lower", extent=extent, interpolation="nearest")
                if outline is not None and (np.take(outline, index, dimension) > 0.5).any():
                    axes.contour(
                        np.take(outline, index, dimension).T,
                        levels=[0.5],
                        extent=extent,
                        colors=INK,
                        linewidths=0.7,
                    )
                axes.text(
                    0.5,
                    -0.01,
                    f"{axis} = {position}",
                    transform=axes.transAxes,
                    fontsize=7.5,
                    color=MUTED,
                    ha="center",
                    va="top",
                )
                if axis != "x" and left == 0.0:
                    for side, place in (("L", 0.06), ("R", 0.94)):
                        axes.text(
                            place, 0.9, side, transform=axes.transAxes, fontsize=8, color=MUTED, ha="center"
                        )
                left += size_mm[across] + free / (len(positions) - 1)
            top += size_mm[up] + label
        bar_axes = figure.add_axes(((row_width + 22.0) / width, 0.22, 0.13 * 110.0 / width, 0.5))
        scale.draw_bar(figure, bar_axes, unit)
    return Path(out_png)


def read_map(path: str | Path):
    """A 3-D image; InputError when it has more dimensions, NotDrawnError when it has no voxels."""
    import nibabel

    if not str(path).endswith(VolumeGeometry.map_extension):
        geometry = geometry_of_map(path)
        voxels = geometry.volume(map_values(path)) if isinstance(geometry, CiftiGeometry) else None
        if voxels is None:
            raise NotDrawnError(f"the map is one of {geometry.targets_name}, which have no slices")
        return voxels
    image = nibabel.load(path)
    if len(image.shape) == 4 and image.shape[3] == 1:
        image = image.slicer[..., 0]
    if len(image.shape) != 3:
        raise InputError(
            f"a 3-D map is expected, but {path} has the shape {image.shape}; give one volume of it"
        )
    return image


def _significant_voxels(q_image: str | Path, image, q: float) -> np.ndarray:
    """Where q values are below `q`; InputError when they are not on the grid of the map `image`."""
    q_map = read_map(q_image)
    if q_map.shape != image.shape or not np.allclose(q_map.affine, image.affine, atol=1e-3):
        raise InputError(
            f"the q values must be on the grid of the map {image.get_filename()}, but {q_image} is on another one"
        )
    with np.errstate(invalid="ignore"):
        return np.asanyarray(q_map.dataobj) < q


def significant_targets(q_image: str | Path, geometry: Geometry, q: float) -> np.ndarray:
    """The same for maps of any geometry."""
    if not geometry.is_like(geometry_of_map(q_image)):
        raise InputError(
            f"the q values must be on the grid or surface of their map, but {q_image} is on another one"
        )
    with np.errstate(invalid="ignore"):
        return map_values(q_image) < q


def below(q_map: str | Path, q: float) -> np.ndarray:
    """Where a map of q values is below `q`; False where it has no value."""
    with np.errstate(invalid="ignore"):
        return map_values(q_map) < q


def map_top(values: np.ndarray) -> float:
    """The value of the brightest colour of a map that is shown by itself."""
    return scale_for(values, threshold=None, vmax=None, symmetric=False).vmax


@cache
def _template():
    """nilearn's MNI template on a 2 mm grid, and what is shown of it, 1 where it is brightest."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=_TEMPLATE_MM)
    anatomy = _inside_box(np.asanyarray(template.dataobj, dtype=np.float32), template.affine)
    return template, anatomy / np.percentile(anatomy[anatomy > 0], 99.5)


def _on_template(values: np.ndarray, affine: np.ndarray, template) -> np.ndarray:
    """Trilinear resampling; voxels without a value have no weight, and NaN comes where they prevail."""
    import nibabel
    from nilearn.image import resample_to_img

    finite = np.isfinite(values)
    both = np.stack([np.where(finite, values, 0.0), finite], axis=-1).astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Resampling binary images", UserWarning)  # it is a weight here
        resampled = resample_to_img(
            nibabel.Nifti1Image(both, affine), template, "linear", copy_header=True, force_resample=True
        ).get_fdata(dtype=np.float32)
    share = resampled[..., 1]
    return np.where(share >= 0.5, resampled[..., 0] / np.maximum(share, 0.5), np.nan)


def _categories_on_template(values: np.ndarray, affine: np.ndarray, template, n: int) -> np.ndarray:
    """The category with the largest share of the neighbours that have one; NaN where most have none."""
    import nibabel
    from nilearn.image import resample_to_img

    shares = np.stack([values == number for number in range(1, n + 1)], axis=-1).astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Resampling binary images", UserWarning)  # they are weights here
        resampled = resample_to_img(
            nibabel.Nifti1Image(shares, affine), template, "linear", copy_header=True, force_resample=True
        ).get_fdata(dtype=np.float32)
    return np.where(resampled.sum(axis=-1) >= 0.5, resampled.argmax(axis=-1) + 1.0, np.nan)


def _inside_box(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The part of a template-grid array (x, y, z) that is shown; x, y, z increase along its axes."""
    start = [round((_BOX_MM[axis][0] - affine[i, 3]) / affine[i, i]) for i, axis in enumerate("xyz")]
    size = [round((_BOX_MM[axis][1] - _BOX_MM[axis][0]) / _TEMPLATE_MM) for axis in "xyz"]
    padded = np.pad(values, [(10, 10)] * 3, constant_values=np.nan if np.isnan(values).any() else 0)
    return padded[tuple(slice(s + 10, s + 10 + n) for s, n in zip(start, size, strict=True))].copy()
