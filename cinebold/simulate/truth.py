"""The answer that was planted, kept beside the data, and how to read it back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.errors import InputError
from cinebold.files import atomic_path, read_json, write_json, write_text
from cinebold.simulate.bold_file import write_map
from cinebold.simulate.brain import REGIONS, Brain
from cinebold.simulate.fmriprep_dataset import SPACE
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.signals import Directions
from cinebold.simulate.surfaces import Projection

FOLDER = Path("derivatives") / "simulation-truth"

BEST_R_MEANING = {
    "ideal": (
        "Correlation between the planted signal and signal plus random noise: what a model that predicts the signal "
        "exactly reaches if drift and motion artefact are removed and nothing else is. Computed per run on the volumes "
        "that are not flagged as non-steady-state, then averaged over runs; 0 where nothing is planted."
    ),
    "cleaned": (
        "Correlation between the planted signal and the series after regressing the columns of nilearn's strategy "
        "'simple' (slow cosines, 24 motion columns, mean white matter and CSF) out of both: the highest that any model "
        "reaches on data cleaned that way, the model that predicts the signal exactly. Computed per run on the volumes "
        "that are not flagged as non-steady-state, then averaged over runs; 0 where nothing is planted."
    ),
}


@dataclass
class BestR:
    """The correlation between signal and data in the planted voxels of one participant, run by run."""

    ideal: list[np.ndarray] = field(default_factory=list)
    cleaned: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        signal: np.ndarray,
        random: np.ndarray,
        series: np.ndarray,
        nuisance: np.ndarray,
        keep: np.ndarray,
    ) -> None:
        """Take in one run: signal, random noise and whole series, (n_volumes, n_planted); nuisance (n_volumes, k)."""
        signal, random, series = signal[keep], random[keep], series[keep]
        self.ideal.append(correlation(signal, signal + random))
        nuisance = nuisance[keep]
        self.cleaned.append(correlation(residuals(signal, nuisance), residuals(series, nuisance)))

    def mean(self, kind: str) -> np.ndarray:
        return np.mean(getattr(self, kind), axis=0)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of each column of (n_samples, n_targets) with its namesake; 0 for constant columns."""
    a, b = (values - values.mean(axis=0, dtype=np.float64) for values in (a, b))
    product = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return (a * b).sum(axis=0) / np.where(product > 0, product, np.inf)


def residuals(series: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
    """What is left of (n_samples, n_targets) after regressing out an intercept and (n_samples, k) columns."""
    nuisance = nuisance - nuisance.mean(axis=0)
    spread = nuisance.std(axis=0)
    columns = np.column_stack([np.ones(len(nuisance)), nuisance / np.where(spread > 0, spread, 1)])
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    basis = left[:, singular > 1e-9 * singular[0]]
    return series - basis @ (basis.T @ series)


def write_truth(
    dataset_dir: Path,
    settings: SimulationSettings,
    brain: Brain,
    directions: Sequence[Directions],
    extractors: Mapping[str, Mapping[str, Any]],
    presentations: Mapping[str, Any],
) -> None:
    """Write what all participants share: parameters, regions, feature weights."""
    from cinebold import __version__

    folder = dataset_dir / FOLDER
    description = {
        "Name": "What was planted in this simulated dataset",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "simulation", "Version": __version__, "Description": "cinebold-simulate"}],
    }
    write_json(folder / "dataset_description.json", description)
    write_text(folder / ".bidsignore", "truth.json\nweights.h5\n*_statmap.*\n*_mix.h5\n*_dseg.*\n")
    parameters = asdict(settings)
    parameters["films_dir"] = None if settings.films_dir is None else settings.films_dir.name
    content = {
        "settings": parameters,
        "regions": {
            region.name: {
                "index": region.index,
                "feature_spaces": list(region.spaces),
                "boxes_mm": "|x|, y, z: " + repr(region.boxes),
                "n_voxels": int((brain.labels == region.index).sum()),
            }
            for region in REGIONS
        },
        "extractors": dict(extractors),
        "haemodynamic_response": "double gamma, shapes 6 and 16, ratio 6 (SPM), sampled every 0.1 s for 32 s",
        "noise": "series = mean image * (1 + percent / 100 * (signal + AR(1) noise of unit variance + drift + motion))",
        "best_r": BEST_R_MEANING,
        "presentations": dict(presentations),
    }
    write_json(folder / "truth.json", content)
    stem = folder / f"space-{SPACE}_desc-planted_dseg"
    write_map(stem.with_suffix(".nii.gz"), brain.labels, brain.affine)
    rows = [f"{region.index}\t{region.name}\t{','.join(region.spaces)}" for region in REGIONS]
    write_text(stem.with_suffix(".tsv"), "\n".join(["index\tname\tfeature_spaces", *rows]) + "\n")
    _write_weights(folder / "weights.h5", directions)


def write_participant_truth(
    dataset_dir: Path,
    participant: str,
    brain: Brain,
    mix: np.ndarray,
    best_r: BestR,
    projections: Sequence[Projection] = (),
) -> None:
    """Write the voxel mix (all directions, n_voxels) of a participant, and the highest r a model can reach."""
    import h5py

    folder = dataset_dir / FOLDER / f"sub-{participant}" / "func"
    for kind, meaning in BEST_R_MEANING.items():
        values = np.zeros(brain.shape, np.float32)
        values[brain.labels > 0] = best_r.mean(kind)
        path = folder / f"sub-{participant}_space-{SPACE}_stat-bestr_desc-{kind}_statmap.nii.gz"
        write_map(path, values, brain.affine)
        write_json(path.with_suffix("").with_suffix(".json"), {"Description": meaning, "SkullStripped": True})
        for projection in projections:
            for written in projection.save_map(
                folder, f"sub-{participant}", f"stat-bestr_desc-{kind}_statmap", values[brain.mask]
            ):
                sidecar = written.with_name(written.name.partition(".")[0] + ".json")
                write_json(sidecar, {"Description": meaning})
    planted = np.flatnonzero(brain.labels[brain.mask])
    with atomic_path(folder / f"sub-{participant}_mix.h5") as temporary, h5py.File(temporary, "w") as file:
        file.attrs["description"] = "signal of a voxel = sum over directions of mix * (direction * response)"
        for name, values in (
            ("mix", mix[:, planted].astype(np.float32)),
            ("voxels", np.argwhere(brain.mask)[planted]),
        ):
            file.create_dataset(name, data=values, track_times=False)


def planted_mask(dataset_dir: str | Path) -> np.ndarray:
    """The voxels that respond to films, (x, y, z) bool."""
    import nibabel as nib

    path = Path(dataset_dir) / FOLDER / f"space-{SPACE}_desc-planted_dseg.nii.gz"
    return np.asarray(nib.load(_existing(path)).dataobj) > 0


def best_r_map(dataset_dir: str | Path, participant: str, kind: str = "cleaned") -> np.ndarray:
    """The highest r that a model can reach, (x, y, z) float32; `kind` is "ideal" or "cleaned" (`BEST_R_MEANING`)."""
    import nibabel as nib

    folder = Path(dataset_dir) / FOLDER / f"sub-{participant}" / "func"
    path = folder / f"sub-{participant}_space-{SPACE}_stat-bestr_desc-{kind}_statmap.nii.gz"
    return np.asarray(nib.load(_existing(path)).dataobj, dtype=np.float32)


def read_truth(dataset_dir: str | Path) -> dict[str, Any]:
    """The parameters, regions and presentations of a simulated dataset."""
    return read_json(_existing(Path(dataset_dir) / FOLDER / "truth.json"))


def _write_weights(path: Path, directions: Sequence[Directions]) -> None:
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for order, direction in enumerate(directions):
            group = file.create_group(f"{direction.region}/{direction.space}")
            group.attrs["first_direction"] = sum(d.weights.shape[1] for d in directions[:order])
            group.create_dataset("feature_names", data=list(direction.names), track_times=False)
            for name in ("mean", "scale", "weights"):
                group.create_dataset(name, data=getattr(direction, name), track_times=False)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"Expected the truth of a simulated dataset in {path}, and it is not there.")
    return path
