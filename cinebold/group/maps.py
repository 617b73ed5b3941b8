"""Maps of a group of participants: means, t-tests and their false discovery rate, on the targets that all share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.geometry import Geometry
from cinebold.bold.maps import geometry_of_map, map_values, n_maps
from cinebold.bold.parcel_geometry import ParcelGeometry
from cinebold.bold.parcels import Parcellation
from cinebold.encoding.model_files import read_card
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
) -> tuple[dict[str, np.ndarray], Geometry, dict[str, Any]]:
    """Test held-out r (through Fisher's z) and the weights of each component against zero across
    participants; in the targets that are finite in all of them. Painted maps of parcels are tested parcel by parcel.

    Parameters
    ----------
    r_maps : participant -> map of held-out r, of any geometry
    weight_maps : participant -> feature space -> file of the maps of its components
    models : participant -> prefix of the saved model, whose components say what the weights belong to
    q : the false discovery rate that the summary counts at

    Returns
    -------
    values : by name: "stat-r" (mean), "stat-{t,p,q}_desc-r", each (n_targets,); for each feature space
        "stat-weight_desc-<space>" (mean) and "stat-{t,p,q}_desc-<space>", (n_components, n_targets), the false
        discovery rate controlled within each component
    geometry : whose targets these are, which writes them
    summary : counts, the common mask's size, and why a feature space was left out

    Raises
    ------
    InputError : the maps are on different grids, or no voxel is finite in all of them
    """
    participants = list(r_maps)
    whole = geometry_of_map(r_maps[participants[0]])
    for who in participants[1:]:
        other = geometry_of_map(r_maps[who])
        if not whole.is_like(other):
            raise InputError(
                f"the maps of sub-{participants[0]} {whole.kept.shape} and sub-{who} {other.kept.shape} are on "
                f"different {'grids' if whole.affine is not None else 'surfaces'}: "
                "run both with the same --output-spaces and --resolution"
            )
    r = np.stack([map_values(r_maps[who]).astype(np.float64) for who in participants])
    finite = np.isfinite(r)
    mask = finite.all(axis=0)
    if not mask.any():
        noun = whole.targets_name
        raise InputError(f"none of the {noun} has a finite r in all {len(participants)} participants")
    geometry = whole.with_kept(mask)
    n_parcels = {who: len(parcels) for who in participants if (parcels := _parcels(models[who]))}
    if n_parcels:
        geometry = ParcelGeometry(geometry, _parcels_of_maps(r[:, mask]))
    r = np.stack([geometry.at_targets(one) for one in r])  # (n_participants, n_targets)
    test = one_sample_t(fisher_z(r))
    adjusted = benjamini_hochberg(test.p)
    values = {
        "stat-r": mean_r(r),
        "stat-t_desc-r": test.t,
        "stat-p_desc-r": test.p,
        "stat-q_desc-r": adjusted,
    }
    summary: dict[str, Any] = {
        "n_targets": geometry.n_targets,
        "n_targets_by_participant": n_parcels
        or {who: int(one.sum()) for who, one in zip(participants, finite, strict=True)},
        **({"parcels": True} if n_parcels else {}),
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
        tested = _test_weights([weight_maps[who][space] for who in participants], geometry)
        values |= {f"{name}_desc-{space}": found for name, found in tested.items()}
        summary["weights"][space] = {
            "n_components": len(tested["stat-t"]),
            "n_significant": [int((one < q).sum()) for one in tested["stat-q"]],
        }
    return values, geometry, summary


def _parcels(model: str | Path) -> list[str]:
    """The names of the parcels of a saved model; none where its targets are no parcels."""
    return list(read_card(model)["fit"].get("geometry", {}).get("parcels", ()))


def _parcels_of_maps(r: np.ndarray) -> Parcellation:
    """Targets with the same r in every participant are of one parcel."""
    _, parcels = np.unique(r, axis=1, return_inverse=True)
    return Parcellation(parcels.ravel() + 1)


def _test_weights(paths: list[str | Path], geometry: Geometry) -> dict[str, np.ndarray]:
    """Mean, t, p and q of each component, (n_components, n_targets); one component is in memory at a time."""
    shape = (n_maps(paths[0]), geometry.n_targets)
    found = {name: np.empty(shape) for name in ("stat-weight", "stat-t", "stat-p", "stat-q")}
    for k in range(shape[0]):
        weights = np.stack([geometry.at_targets(map_values(path, k)).astype(np.float64) for path in paths])
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
