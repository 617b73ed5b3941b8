"""A brain of real shape on any MNI grid, and the regions in it that respond to films."""

from dataclasses import dataclass
from functools import cache

import numpy as np

# Field of view of MNI152NLin2009cAsym: 193 x 229 x 193 mm; the corner of the first voxel, and the extents.
TEMPLATE_CORNER_MM = np.array([-96.5, -132.5, -78.5])
TEMPLATE_EXTENT_MM = np.array([193.0, 229.0, 193.0])


@dataclass(frozen=True)
class Region:
    """A named region: boxes in MNI mm, and the feature spaces it responds to."""

    name: str
    index: int
    spaces: tuple[str, ...]
    #: (least |x|, greatest |x|), (least y, greatest y), (least z, greatest z); both hemispheres
    boxes: tuple[tuple[tuple[float, float], tuple[float, float], tuple[float, float]], ...]


# Anatomy only in outline: what matters is that the answer is known. Together a bit less than 40 % of grey
# matter.
REGIONS = (
    Region("occipital", 1, ("motion_energy",), (((0, 70), (-115, -72), (-18, 45)),)),
    Region(
        "ventral_temporal",
        2,
        ("low_level",),
        (((18, 80), (-72, -5), (-40, 2)), ((36, 80), (-72, -50), (2, 18))),
    ),
    Region(
        "parietal",
        3,
        ("motion_energy", "low_level"),
        (((0, 70), (-90, -28), (45, 85)), ((20, 70), (-72, -28), (24, 45))),
    ),
    Region("frontal_eye_fields", 4, ("motion_energy",), (((14, 62), (-28, 16), (36, 80)),)),
)


@dataclass(frozen=True)
class Brain:
    """Tissue on one grid: probabilities in [0, 1], the brain mask, and the label of the planted region per voxel."""

    affine: np.ndarray  #: (4, 4)
    grey: np.ndarray  #: (x, y, z) float32
    white: np.ndarray
    csf: np.ndarray
    mask: np.ndarray  #: (x, y, z) bool
    labels: np.ndarray  #: (x, y, z) int16, 0 outside every region

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.mask.shape


def template_grid(resolution_mm: float) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine (4, 4) of isotropic voxels over the field of view of MNI152NLin2009cAsym.

    >>> template_grid(2.0)[0]
    (97, 115, 97)
    """
    shape = tuple(int(n) for n in np.ceil(TEMPLATE_EXTENT_MM / resolution_mm))
    affine = np.diag([resolution_mm] * 3 + [1.0])
    affine[:3, 3] = TEMPLATE_CORNER_MM + resolution_mm / 2
    return shape, affine


def make_brain(shape: tuple[int, int, int], affine: np.ndarray, *, gm_threshold: float = 0.2) -> Brain:
    """The MNI templates bundled with nilearn on the given grid, with `REGIONS` planted in them.

    Regions take the voxels of their boxes where the probability of grey matter exceeds `gm_threshold`. The bundled
    templates are MNI ICBM152 nlin_sym_09a: close to, not the same as, MNI152NLin2009cAsym.
    """
    voxel_mm = np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(axis=0))
    brain, grey, white = (_resampled(name, shape, affine, voxel_mm) for name in ("brain", "gm", "wm"))
    mask = brain > 0.5
    grey, white = (np.where(mask, tissue, 0).astype(np.float32) for tissue in (grey, white))
    total = np.maximum(grey + white, 1)  # the two templates may add up to slightly more than one
    grey, white = grey / total, white / total
    csf = np.where(mask, 1 - grey - white, 0).astype(np.float32)
    labels = _label_regions(shape, affine, mask & (grey > gm_threshold))
    return Brain(np.asarray(affine, float), grey, white, csf, mask, labels)


def _label_regions(shape: tuple[int, int, int], affine: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    grid = np.indices(shape).reshape(3, -1)
    x, y, z = (affine[:3, :3] @ grid + affine[:3, 3:]).reshape(3, *shape)
    # The cerebellum lies under a plane that falls from the occipital pole to the brain stem.
    allowed = allowed & ~((y < -35) & (z < -18 - 0.15 * (y + 75)) & (np.abs(x) < 56))
    labels = np.zeros(shape, np.int16)
    for region in REGIONS:
        for (x0, x1), (y0, y1), (z0, z1) in region.boxes:
            inside = (np.abs(x) >= x0) & (np.abs(x) <= x1) & (y >= y0) & (y < y1) & (z >= z0) & (z < z1)
            labels[inside & allowed & (labels == 0)] = region.index
    return labels


def _resampled(
    name: str, shape: tuple[int, int, int], affine: np.ndarray, voxel_mm: np.ndarray
) -> np.ndarray:
    """One template on the grid, linearly, after a smoothing that keeps coarse grids from aliasing."""
    from scipy import ndimage

    data, source_affine = _template(name)
    sigma = np.maximum(0, voxel_mm / 2 - 1) * 0.6  # the templates have 2 mm voxels
    data = ndimage.gaussian_filter(data, sigma) if sigma.any() else data
    to_source = np.linalg.inv(source_affine) @ affine
    values = ndimage.affine_transform(
        data, to_source[:3, :3], to_source[:3, 3], shape, order=1, mode="constant"
    )
    return np.clip(values, 0, 1)


@cache
def _template(name: str) -> tuple[np.ndarray, np.ndarray]:
    from nilearn import datasets

    load = {
        "brain": datasets.load_mni152_brain_mask,
        "gm": datasets.load_mni152_gm_template,
        "wm": datasets.load_mni152_wm_template,
    }[name]
    image = load(resolution=2)
    return np.asarray(image.dataobj, dtype=np.float32), image.affine
