"""Small datasets as generations of fMRIPrep leave them: real NIfTI files of a few voxels, films of a few bytes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SHAPE = (5, 6, 4)
N_VOLUMES = 12
TR_S = 2.0
MNI = "MNI152NLin2009cAsym"


@dataclass(frozen=True)
class Skeleton:
    """What a dataset looks like; `build` writes it."""

    generation: str = "23.2.0"
    participants: Sequence[str] = ("01",)
    sessions: Sequence[str | None] = (None,)
    runs: Mapping[str, Sequence[str | None]] = field(default_factory=lambda: {"movie": ("1", "2")})
    acquisition: str | None = None
    spaces: Sequence[str] = (f"space-{MNI}",)  #: pieces of file names, e.g. "space-X_res-2"; "" is native
    anatomy: str = "subject"  #: "subject", "session" or "none"

    def run_stems(self, participant: str) -> list[tuple[Path, str]]:
        """(folder below the root, start of the names) of each run."""
        stems = []
        for session in self.sessions:
            for task, indices in self.runs.items():
                for index in indices:
                    pieces = [f"sub-{participant}", session and f"ses-{session}", f"task-{task}"]
                    pieces += [self.acquisition and f"acq-{self.acquisition}", index and f"run-{index}"]
                    folder = Path(f"sub-{participant}", f"ses-{session}" if session else "", "func")
                    stems.append((folder, "_".join(piece for piece in pieces if piece)))
        return stems


def build(root: Path, skeleton: Skeleton = Skeleton()) -> tuple[Path, Path]:
    """Write raw data and derivatives; the folders of both."""
    bids_dir = root / "raw"
    fmriprep_dir = bids_dir / "derivatives" / "fmriprep"
    write_json(bids_dir / "dataset_description.json", {"Name": "skeleton", "BIDSVersion": "1.9.0"})
    generated = [{"Name": "fMRIPrep", "Version": skeleton.generation}]
    write_json(
        fmriprep_dir / "dataset_description.json",
        {"Name": "fMRIPrep", "BIDSVersion": "1.4.0", "DatasetType": "derivative", "GeneratedBy": generated},
    )
    for participant in skeleton.participants:
        for number, (folder, stem) in enumerate(skeleton.run_stems(participant), start=1):
            film = f"films/part{number}.mp4"
            write_film(bids_dir / "stimuli" / film)
            write_events(bids_dir / folder / f"{stem}_events.tsv", [(4, 16, film), (20, 2, "n/a")])
            write_image(bids_dir / folder / f"{stem}_bold.nii.gz", N_VOLUMES)
            write_json(bids_dir / folder / f"{stem}_bold.json", {"RepetitionTime": TR_S, "TaskName": "x"})
            _write_derivatives(fmriprep_dir / folder, stem, skeleton)
        _write_anatomy(fmriprep_dir, participant, skeleton)
    return bids_dir, fmriprep_dir


def _write_derivatives(folder: Path, stem: str, skeleton: Skeleton) -> None:
    year, month = (int(part) for part in skeleton.generation.split(".")[:2])
    confounds = "desc-confounds_timeseries" if (year, month) >= (20, 2) else "desc-confounds_regressors"
    columns, sidecar = confounds_of_generation(year, month)
    write_table(folder / f"{stem}_{confounds}.tsv", columns)
    write_json(folder / f"{stem}_{confounds}.json", sidecar)
    for space in skeleton.spaces:
        name = "_".join(piece for piece in (stem, space) if piece)
        write_image(folder / f"{name}_desc-preproc_bold.nii.gz", N_VOLUMES)
        write_image(folder / f"{name}_boldref.nii.gz")
        write_image(folder / f"{name}_desc-brain_mask.nii.gz")
        timing: dict[str, Any] = {"RepetitionTime": TR_S, "SkullStripped": False, "TaskName": "x"}
        if year >= 23:
            timing |= {"StartTime": 0.95, "SliceTimingCorrected": True}
        write_json(folder / f"{name}_desc-preproc_bold.json", timing)
        write_json(folder / f"{name}_desc-brain_mask.json", {"Type": "Brain"})
    # What stands beside the volumes and must be ignored.
    hemisphere = "space-fsaverage5_hemi-L" if year < 21 else "hemi-L_space-fsaverage5"
    write_text(folder / f"{stem}_{hemisphere}_bold.func.gii", "x")
    write_text(folder / f"{stem}_space-fsLR_den-91k_bold.dtseries.nii", "x")
    write_json(folder / f"{stem}_space-fsLR_den-91k_bold.json", {"RepetitionTime": 99})
    write_json(folder / f"{stem}_space-fsLR_den-91k_bold.dtseries.json", {"RepetitionTime": 99})
    if year < 23:
        write_image(folder / f"{stem}_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz", N_VOLUMES)
    if (year, month) == (20, 2):
        for space in skeleton.spaces:
            write_image(folder / f"{stem}_{space}_desc-preproc-interpTR1s_bold.nii.gz", 2 * N_VOLUMES)
            write_image(folder / f"{stem}_{space}_desc-preproc-interpTR1s_mask.nii.gz")


def confounds_of_generation(year: int, month: int) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Columns and sidecar of a confounds table, named as that fMRIPrep names them; the values are small noise."""
    motion = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    names = [
        f"{name}{expansion}"
        for name in (*motion, "csf", "white_matter", "global_signal")
        for expansion in ("", "_derivative1", "_power2", "_derivative1_power2")
    ]
    names += ["framewise_displacement", "std_dvars", "cosine00"] + ["csf_wm"] * ((year, month) >= (20, 2))
    masks = ["combined", "combined", "CSF", "CSF", "WM", "WM"]
    if year < 21:
        components = [f"a_comp_cor_{number:02d}" for number in range(6)]
    else:
        components = [f"{letter}_comp_cor_{number:02d}" for letter in "acw" for number in range(2)]
    names += components + ["edge_comp_00"] * (year >= 22) + ["aroma_motion_01"] * ((year, month) < (23, 1))
    values = np.random.default_rng(0).normal(scale=0.1, size=(N_VOLUMES, len(names))).round(6)
    columns: dict[str, list[Any]] = {name: list(column) for name, column in zip(names, values.T, strict=True)}
    columns["framewise_displacement"] = [0.1] * N_VOLUMES
    columns["std_dvars"] = [1.0] * N_VOLUMES
    for name in names:
        if "derivative1" in name or name in ("framewise_displacement", "std_dvars"):
            columns[name][0] = "n/a"
    columns["non_steady_state_outlier00"] = [1] + [0] * (N_VOLUMES - 1)
    return columns, {name: {"Mask": mask} for name, mask in zip(components, masks, strict=True)}


def _write_anatomy(fmriprep_dir: Path, participant: str, skeleton: Skeleton) -> None:
    if skeleton.anatomy == "none":
        return
    session = skeleton.sessions[0] if skeleton.anatomy == "session" else None
    folder = fmriprep_dir / f"sub-{participant}" / (f"ses-{session}" if session else "") / "anat"
    stem = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    spaces = {space for space in skeleton.spaces if space not in ("", "space-T1w")} | {""}
    for space in sorted(spaces):
        for tissue in ("GM", "WM", "CSF"):
            pieces = [stem, space, f"label-{tissue}", "probseg.nii.gz"]
            write_image(folder / "_".join(piece for piece in pieces if piece))


def write_image(
    path: Path,
    n_volumes: int | None = None,
    *,
    shape: tuple[int, ...] = SHAPE,
    tr_s: float = TR_S,
    shift_mm: float = 0.0,
) -> Path:
    """A NIfTI image of ones: 3-D, or a series of volumes."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = shift_mm
    data = np.ones(shape if n_volumes is None else (*shape, n_volumes), dtype=np.int16)
    image = nibabel.Nifti1Image(data, affine)
    if n_volumes is not None:
        image.header.set_zooms((3.0, 3.0, 3.0, tr_s))
        image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def write_events(path: Path, rows: Iterable[tuple[Any, Any, str]]) -> Path:
    """An events.tsv with onset, duration and stim_file."""
    lines = ["onset\tduration\tstim_file", *("\t".join(map(str, row)) for row in rows)]
    return write_text(path, "\n".join(lines) + "\n")


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """A tab-separated table with a header."""
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return write_text(path, "".join("\t".join(map(str, row)) + "\n" for row in rows))


def write_film(path: Path) -> Path:
    """A file that has the name of a film; nothing here decodes it."""
    return write_text(path, "film")


def write_json(path: Path, content: Any) -> Path:
    """A JSON file, with its folder."""
    return write_text(path, json.dumps(content))


def write_text(path: Path, text: str) -> Path:
    """A text file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path
