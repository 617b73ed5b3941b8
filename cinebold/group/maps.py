"""Maps of a group of participants: means, t-tests and their false discovery rate, on the voxels that all share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from cinebold.bold.grid import Grid, grids_equal
from cinebold.errors import InputError
from cinebold.group.inference import benjamini_hochberg, fisher_z, mean_r, one_sample_t

#: Components are the same when their entries agree to this; they come from float64 decompositions of equal
# films.
_SAME_COMPONENTS = 1e-3


def group_maps(
    r_maps: Mapping[str, str | Path],
    weight_maps: Mapping[str, Mapping[str, str | Path]],
    models: Mapping[str, str | Path],
    *,
    q: float,
) -> tuple[dict[str, nib.Nifti1Image], dict[str, Any]]:
    """Test held-out r (through Fisher's z) and the weights of each component against zero across
    participants.

    Parameters
    ----------
    r_maps : participant -> map of held-out r
    weight_maps : participant -> feature space -> 4-D map (x, y, z, n_components)
    models : participant -> prefix of the saved model, whose components say what the weights belong to
    q : the false discovery rate that the summary counts at

    Returns
    -------
    maps : by name: "stat-r" (mean), "stat-{t,p,q}_desc-r"; for each feature space "stat-weight_desc-<space>"
    (mean) and
        "stat-{t,p,q}_desc-<space>", 4-D, the false discovery rate controlled within each component
    summary : counts, the common mask's size, and why a feature space was left out

    Raises
    ------
    InputError : the maps are on different grids, or no voxel is finite in all of them
    """
    participants = list(r_maps)
    images = [nib.load(r_maps[who]) for who in participants]
    grid = Grid(images[0].shape[:3], images[0].affine)
    for who, image in zip(participants, images, strict=True):
        if not grids_equal(grid, Grid(image.shape[:3], image.affine)):
            raise InputError(
                f"the maps of sub-{participants[0]} {grid.shape} and sub-{who} {image.shape[:3]} are on "
                "different grids: "
                "run both with the same --output-spaces and --resolution"
            )
    r = np.stack([np.asarray(image.dataobj, dtype=np.float64) for image in images])
    mask = np.isfinite(r).all(axis=0)
    if not mask.any():
        raise InputError(f"no voxel has a finite r in all {len(participants)} participants")
    r = r[:, mask]  # (n_participants, n_targets)
    test = one_sample_t(fisher_z(r))
    adjusted = benjamini_hochberg(test.p)
    values = {
        "stat-r": mean_r(r),
        "stat-t_desc-r": test.t,
        "stat-p_desc-r": test.p,
        "stat-q_desc-r": adjusted,
    }
    summary: dict[str, Any] = {
        "n_targets": int(mask.sum()),
        "n_targets_by_participant": {
            who: int(np.isfinite(np.asarray(image.dataobj)).sum())
            for who, image in zip(participants, images, strict=True)
        },
        "n_significant": int((adjusted < q).sum()),
        "scores": {
            "r": {
                "mean": float(values["stat-r"].mean()),
                "median": float(np.median(values["stat-r"])),
                "max": float(values["stat-r"].max()),
            }
        },
        "weights": {},
        "warnings": [],
    }
    for space in weight_maps[participants[0]]:
        reason = _why_not_comparable(space, participants, weight_maps, models)
        if reason:
            summary["warnings"].append(f"the weights of {space} were not tested: {reason}")
            continue
        tested = _test_weights([weight_maps[who][space] for who in participants], mask)
        values |= {f"{name}_desc-{space}": found for name, found in tested.items()}
        summary["weights"][space] = {
            "n_components": len(tested["stat-t"]),
            "n_significant": [int((one < q).sum()) for one in tested["stat-q"]],
        }
    return {name: _image(found, mask, grid) for name, found in values.items()}, summary


def _test_weights(paths: list[str | Path], mask: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, t, p and q of each component, (n_components, n_targets); one component is in memory at a time."""
    images = [nib.load(path) for path in paths]
    shape = (images[0].shape[3], int(mask.sum()))
    found = {name: np.empty(shape) for name in ("stat-weight", "stat-t", "stat-p", "stat-q")}
    for k in range(shape[0]):
        weights = np.stack([np.asarray(image.dataobj[..., k], dtype=np.float64)[mask] for image in images])
        test = one_sample_t(weights)
        found["stat-weight"][k], found["stat-t"][k], found["stat-p"][k] = test.mean, test.t, test.p
        found["stat-q"][k] = benjamini_hochberg(test.p)
    return found


def _why_not_comparable(
    space: str,
    participants: list[str],
    weight_maps: Mapping[str, Mapping[str, str | Path]],
    models: Mapping[str, str | Path],
) -> str | None:
    """Weights can be compared where the components are the same: participants who saw the same films."""
    without = [who for who in participants if space not in weight_maps[who]]
    if without:
        return f"sub-{without[0]} has no map of them"
    first = _components(models[participants[0]], space)
    for who in participants[1:]:
        components = _components(models[who], space)
        if first is None and components is None:
            continue  # no PCA: the weights are of the features themselves
        if (
            first is None
            or components is None
            or components.shape != first.shape
            or not np.allclose(components, first, atol=_SAME_COMPONENTS)
        ):
            return (
                f"the principal components of sub-{participants[0]} and sub-{who} differ, as they do when "
                "participants "
                "saw different films or lost different volumes; --pca none makes weights comparable"
            )
    return None


def _components(model: str | Path, space: str) -> np.ndarray | None:
    """The components (n_components, n_features) of a saved model, without reading its weights; None: no PCA."""
    from safetensors import safe_open

    with safe_open(f"{model}.safetensors", framework="numpy") as tensors:
        name = f"{space}.components"
        return tensors.get_tensor(name) if name in tensors.keys() else None


def _image(values: np.ndarray, mask: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    """(n_targets,) or (n_components, n_targets) as a float32 image, NaN outside the mask."""
    volume = np.full((*mask.shape, *values.shape[:-1]), np.nan, dtype=np.float32)
    volume[mask] = values.T
    return nib.Nifti1Image(volume, grid.affine)
