"""Why a participant has no preprocessed BOLD images, in one sentence that says what to do."""

from collections.abc import Iterable
from pathlib import Path

from bids_app.layouts import IMAGE_EXTENSIONS, BidsFile, run_label
from bids_app.selection import Selection
from bids_app.spaces import label_of
from bids_app.surface_files import is_surface_series


def explain_missing_bold(fmriprep_dir: Path, files: Iterable[BidsFile], selection: Selection) -> str:
    """The most telling reason, looked for from the closest miss to the farthest."""
    files = tuple(files)
    series = [file for file in files if file.suffix == "bold"]
    volumes = [
        f
        for f in series
        if is_surface_series(f)
        or (f.extension in IMAGE_EXTENSIONS and f.has(desc="preproc", echo=None, part=None))
    ]
    in_space = [file for file in volumes if selection.has_space(file)]
    if in_space:
        labels = sorted({run_label(file) for file in in_space})
        return (
            f"no run in {fmriprep_dir} fits the filters ({selection.describe_runs()}); there are "
            f"{', '.join(labels)}."
        )
    if volumes:
        spaces = sorted({space_label(file) for file in volumes})
        return (
            f"{fmriprep_dir} has no preprocessed BOLD image in the space {wanted_space(selection)}; there "
            f"are "
            f"{', '.join(spaces)}; choose one with --output-spaces."
        )
    sidecars = [
        f for f in series if f.extension == ".json" and f.has(desc="preproc") and selection.has_space(f)
    ]
    if sidecars:
        return (
            f"{fmriprep_dir} has {len(sidecars)} sidecars of preprocessed BOLD images in the space "
            f"{wanted_space(selection)} but not the images (e.g. {_image_name(sidecars[0])}); get them, "
            "for example with `datalad get`."
        )
    # Sidecars tell as much as the files: in a DataLad dataset they are often all that is here.
    if any(file.suffix in ("boldref", "xfm") and "task" in file.entities for file in files):
        return (
            f"{fmriprep_dir} has boldref images and transforms but no preprocessed BOLD images: it looks "
            f"like the "
            "output of fMRIPrep with `--level minimal`; run fMRIPrep again with `--level full`."
        )
    return (
        f"{fmriprep_dir} has no preprocessed BOLD images (desc-preproc_bold.nii.gz) for this participant; "
        f"run fMRIPrep "
        "for it, or leave it out with --participant-label."
    )


def space_label(file: BidsFile) -> str:
    """The space of a file as --output-spaces takes it.

    >>> from bids_app.layouts import parse_name
    >>> space_label(parse_name("sub-1_task-a_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz"))
    'MNI152NLin6Asym:res-2'
    """
    return label_of(file.entities)


def wanted_space(selection: Selection) -> str:
    """The space that is wanted, as --output-spaces takes it."""
    modifiers = {"res": selection.resolution_entity, "den": selection.density}
    chosen = {key: value for key, value in modifiers.items() if value is not None}
    return label_of({"space": selection.space_entity or "func", **chosen})


def _image_name(sidecar: BidsFile) -> str:
    return sidecar.path.name.removesuffix(".json") + ".nii.gz"
