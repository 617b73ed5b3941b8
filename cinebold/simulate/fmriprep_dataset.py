"""The preprocessed side of a simulated dataset, as fMRIPrep 23.2 lays it out and names it."""

from pathlib import Path
from typing import Any

import numpy as np

from cinebold.files import write_json
from cinebold.simulate.bold_file import write_bold, write_map
from cinebold.simulate.brain import Brain

SPACE = "MNI152NLin2009cAsym"


def write_fmriprep_description(fmriprep_dir: Path) -> None:
    """Write `dataset_description.json` as fMRIPrep 23.2.0 does."""
    description = {
        "Name": "fMRIPrep - fMRI PREProcessing workflow",
        "BIDSVersion": "1.4.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "fMRIPrep",
                "Version": "23.2.0",
                "CodeURL": "https://github.com/nipreps/fmriprep/archive/23.2.0.tar.gz",
                "Description": "Simulated in the layout of this version; fMRIPrep itself never ran.",
            }
        ],
        "HowToAcknowledge": "Simulated data: nothing to cite.",
    }
    write_json(fmriprep_dir / "dataset_description.json", description)


def write_anatomy(fmriprep_dir: Path, participant: str, anatomy: Brain) -> None:
    """Write tissue probabilities and the brain mask of a participant in template space."""
    stem = fmriprep_dir / f"sub-{participant}" / "anat" / f"sub-{participant}_space-{SPACE}"
    write_map(Path(f"{stem}_desc-brain_mask.nii.gz"), anatomy.mask, anatomy.affine)
    write_json(Path(f"{stem}_desc-brain_mask.json"), {"Type": "Brain"})
    for label, tissue in (("GM", anatomy.grey), ("WM", anatomy.white), ("CSF", anatomy.csf)):
        write_map(Path(f"{stem}_label-{label}_probseg.nii.gz"), tissue, anatomy.affine)


def write_functional(func_dir: Path, stem: str, series: np.ndarray, brain: Brain, tr_s: float) -> None:
    """Write the BOLD series (n_volumes, n_voxels), its mask and its reference image in template space."""
    spatial = f"{stem}_space-{SPACE}"
    write_bold(func_dir / f"{spatial}_desc-preproc_bold.nii.gz", series, brain.mask, brain.affine, tr_s)
    write_map(func_dir / f"{spatial}_desc-brain_mask.nii.gz", brain.mask, brain.affine)
    write_json(func_dir / f"{spatial}_desc-brain_mask.json", {"Type": "Brain"})
    reference = np.zeros(brain.shape, np.float32)
    reference[brain.mask] = series.mean(axis=0, dtype=np.float64)
    write_map(func_dir / f"{spatial}_boldref.nii.gz", reference, brain.affine)
    write_json(func_dir / f"{spatial}_boldref.json", {"SkullStripped": True})


def bold_sidecar(task: str, tr_s: float, start_time_s: float) -> dict[str, Any]:
    """The sidecar of a preprocessed series whose slices were all shifted to `start_time_s` into the volume."""
    return {
        "RepetitionTime": tr_s,
        "SkullStripped": True,
        "SliceTimingCorrected": True,
        "StartTime": start_time_s,
        "TaskName": task,
    }
