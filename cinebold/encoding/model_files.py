"""What every saved model has in common: reducers, mask and affine, as safetensors with a JSON card beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.errors import InputError
from cinebold.files import atomic_path, read_json, write_json


def common_arrays(
    reducers: Mapping[str, SpaceReducer], mask: np.ndarray | None, affine: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The arrays of the reducers, the mask and the affine, by name."""
    arrays = {}
    for space, reducer in reducers.items():
        for name in ("mean", "scale", "explained_variance_ratio", "components"):
            if getattr(reducer, name) is not None:
                arrays[f"{space}.{name}"] = getattr(reducer, name)
    if mask is not None:
        arrays["mask"] = np.asarray(mask, dtype=np.uint8)
    if affine is not None:
        arrays["affine"] = np.asarray(affine, dtype=np.float64)
    return arrays


def space_facts(
    reducers: Mapping[str, SpaceReducer], names: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, Any]]:
    """What the card says of each feature space."""
    return {
        space: {
            "n_features": len(reducer.mean),
            "n_components": reducer.n_components,
            "pca": reducer.components is not None,
            "explained_variance": 1.0
            if reducer.components is None
            else float(reducer.explained_variance_ratio.sum()),
            "unit": reducer.unit,
            "standardised_by_volume": reducer.by_volume,
            "names": list(names.get(space, ())),
        }
        for space, reducer in reducers.items()
    }


def write_model(
    prefix: str | Path, arrays: Mapping[str, np.ndarray], content: Mapping[str, Any]
) -> tuple[Path, Path]:
    """Write `prefix`.safetensors and `prefix`.json; equal models give equal bytes."""
    from safetensors.numpy import save

    tensors = Path(f"{prefix}.safetensors")
    with atomic_path(tensors) as temporary:
        temporary.write_bytes(save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}))
    return tensors, write_json(Path(f"{prefix}.json"), dict(content))


def read_arrays(prefix: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a model; an InputError where the file is missing."""
    from safetensors.numpy import load

    return load(existing_part(prefix, "safetensors").read_bytes())


def read_card(prefix: str | Path) -> dict[str, Any]:
    """The card of a model; an InputError where the file is missing."""
    return read_json(existing_part(prefix, "json"))


def existing_part(prefix: str | Path, ending: str) -> Path:
    """One of a model's two files; an InputError where it is missing."""
    path = Path(f"{prefix}.{ending}")
    if not path.is_file():
        raise InputError(f"The model {prefix} is not whole: {path} does not exist; fit the model again.")
    return path


def common_fields(arrays: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that all models have: reducers, names, repetition time, intercept, mask, affine, card."""
    spaces = content["spaces"]
    return {
        "reducers": {
            space: SpaceReducer(
                mean=arrays[f"{space}.mean"],
                scale=arrays[f"{space}.scale"],
                components=arrays.get(f"{space}.components"),
                explained_variance_ratio=arrays[f"{space}.explained_variance_ratio"],
                unit=facts["unit"],
                by_volume=facts["standardised_by_volume"],
            )
            for space, facts in spaces.items()
        },
        "names": {space: tuple(facts["names"]) for space, facts in spaces.items()},
        "tr_s": content["tr_s"],
        "intercept": arrays["intercept"],
        "mask": arrays["mask"].astype(bool) if "mask" in arrays else None,
        "affine": arrays.get("affine"),
        "card": content["fit"],
    }
