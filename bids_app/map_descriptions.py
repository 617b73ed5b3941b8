"""What each map is, in the words of its sidecar; docs/outputs.md says the same. And what its grid or surface is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bids_app.atlas_files import check_atlas, remarks_on_atlas
from cinebold.errors import SettingError
from cinebold.files import read_json
from workflows.specifications import BoldPreparation, Run

#: By the `stat-` label, with `_desc` where the file names a feature space or a model.
STATISTICS: dict[str, dict[str, str]] = {
    "r": {
        "Description": "Pearson correlation of predicted and measured responses in held-out data, the mean over runs "
        "weighted by their volumes",
        "Units": "arbitrary",
    },
    "r_desc": {
        "Description": "The same of the model that `desc` names alone: one feature space, or ridge regression beside "
        "an LSTM",
        "Units": "arbitrary",
    },
    "rsquared": {
        "Description": "Coefficient of determination (1 - SSE/SST) pooled over the held-out runs, each centred on its "
        "mean; it can be negative",
        "Units": "arbitrary",
    },
    "rsquared_desc": {
        "Description": "The same of the model that `desc` names alone: ridge regression beside an LSTM",
        "Units": "arbitrary",
    },
    "rnorm": {
        "Description": "r divided by the noise ceiling, where that is at least ceiling_floor; not clipped",
        "Units": "arbitrary",
    },
    "alpha": {
        "Description": "Chosen penalty of the model fitted to all training data, in units of alpha_unit",
        "Units": "arbitrary",
    },
    "gamma": {
        "Description": "Share of the feature space in the penalty of banded ridge, of the model fitted to all training "
        "data; the shares of a voxel sum to one",
        "Units": "arbitrary",
    },
    "p": {
        "Description": "One-sided p value of r under permutations of the predictions within the runs, permuted r "
        "multiplied by sqrt(2) where folds learn from each other's data"
    },
    "p_desc": {"Description": "The same of the model of the feature space alone"},
    "pfwe": {
        "Description": "One-sided p value of r against the largest permuted r of all analysed voxels, which controls "
        "the family-wise error"
    },
    "q": {"Description": "Benjamini-Hochberg adjusted p value over the analysed voxels"},
    "z": {"Description": "Normal quantile of 1 - p"},
    "noiseceiling": {
        "Description": "Highest r that a single showing allows, from the agreement of responses to repeated showings "
        "of a film, estimated as `ceiling` says",
        "Units": "arbitrary",
    },
    "product": {
        "Description": "Part of the feature space in the held-out R2 of the joint model (product measure); the parts "
        "sum to stat-rsquared",
        "Units": "arbitrary",
    },
    "unique": {
        "Description": "Held-out R2 of all feature spaces less that of the model fitted without the feature space",
        "Units": "arbitrary",
    },
    "partial": {
        "Description": "Share of the error of the model without the feature space that the feature space takes away",
        "Units": "arbitrary",
    },
    "bestlayer": {
        "Description": "Number of the feature space (1, 2, ... in the order of FeatureSpaces) whose own model has the "
        "highest held-out r, where any is significant",
        "Units": "arbitrary",
    },
    "centrelayer": {
        "Description": "Mean of the numbers of the feature spaces weighted by their positive held-out r, where any is "
        "significant",
        "Units": "arbitrary",
    },
    "weight": {
        "Description": "Weights of a feature space's components, summed over the delays; the fourth axis is the "
        "component"
    },
}

#: The same for the group level.
GROUP_STATISTICS: dict[str, dict[str, str]] = {
    "r": {"Description": "Mean held-out r over the participants, through Fisher's z", "Units": "arbitrary"},
    "weight": {"Description": "Mean weights over the participants; the fourth axis is the component"},
    "t": {"Description": "One-sample t statistic across participants, of Fisher's z of r or of the weights"},
    "p": {"Description": "Two-sided p value of t"},
    "q": {"Description": "Benjamini-Hochberg adjusted p value, within each component"},
}


def statistics_of(statistics: Mapping[str, Mapping[str, str]], volumes: bool) -> dict[str, dict[str, str]]:
    """The descriptions as they hold for volumes, or for surfaces and grayordinates, whose maps have no fourth axis."""
    return {
        label: {
            key: text if volumes else text.replace("the fourth axis is the component", "one map a component")
            for key, text in one.items()
        }
        for label, one in statistics.items()
    }


def grid_metadata(runs: Sequence[Run], resolution_mm: float | None) -> dict[str, Any]:
    """What the sidecars of maps say of the grid, or of the surface."""
    first = runs[0]
    if first.geometry == "volume":
        return _volume_metadata(resolution_mm)
    noun = "vertices of both hemispheres" if first.geometry == "surface" else "grayordinates"
    own = first.entities.get("space") == "fsnative" and first.meshes
    return {
        "Density": f"{first.shape[0]} {noun}",
        # BIDS wants to know what a space is that is no template's.
        **({"SpatialReference": [Path(mesh).name for mesh in first.meshes]} if own else {}),
    }


def group_grid_metadata(r_map: Path, resolution_mm: float | None) -> dict[str, Any]:
    """The same for the group, from a participant's map and its sidecar."""
    if r_map.name.endswith(".nii.gz"):
        return _volume_metadata(resolution_mm)
    return {"Density": read_json(r_map.with_name(r_map.name.partition(".")[0] + ".json")).get("Density", "")}


def _volume_metadata(resolution_mm: float | None) -> dict[str, Any]:
    words = "the grid of the input" if resolution_mm is None else f"{resolution_mm:g} mm isotropic"
    return {"SkullStripped": True, "Resolution": words}


def preparation_of(
    runs: Sequence[Run], bold: BoldPreparation, resolution: float | str | None
) -> tuple[BoldPreparation, list[str]]:
    """How the runs are read, and remarks: surfaces and grayordinates are not resampled, nor masked by an image.

    Parameters
    ----------
    resolution : of the command line

    Raises SettingError where a mask of voxels, smoothing or the atlas of another kind is asked for.
    """
    kind = runs[0].geometry
    check_atlas(bold.atlas, kind)
    if kind == "volume":
        return bold, remarks_on_atlas(bold.atlas, runs[0].entities.get("space"))
    if bold.mask not in ("gm", "brain", "none"):
        raise SettingError(
            f"--mask {bold.mask} chooses voxels, but {Path(runs[0].bold).name} has none; on surfaces and grayordinates "
            "use gm (the cortex), brain or none (all vertices)."
        )
    if bold.smoothing_mm is not None:
        raise SettingError(
            f"--smoothing {bold.smoothing_mm:g} smooths volumes, and {Path(runs[0].bold).name} is none; on surfaces "
            "and grayordinates leave it out, or have the series smoothed over the cortex beforehand."
        )
    remarks = []
    if isinstance(resolution, float):
        remarks.append(
            f"--resolution {resolution:g} is for volumes: vertices and grayordinates stay as they are."
        )
    if kind == "surface" and bold.mask == "gm" and not runs[0].cortex_masks:
        remarks.append(
            "there is no cortex mask (desc-cortex_mask.label.gii) of this surface: all vertices that vary are analysed."
        )
    return replace(bold, resolution_mm=None, axes="input", interpolation="linear"), remarks
