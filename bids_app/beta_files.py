"""Responses of clips that were made elsewhere: an image of one map a presentation, and the table of its rows."""

from dataclasses import dataclass
from pathlib import Path

from bids_app.confounds_files import file_of_run
from bids_app.layouts import IMAGE_EXTENSIONS, BidsFile
from bids_app.showings import RunShowings, Showings
from bids_app.sidecars import read_header
from cinebold.errors import InputError

_CIFTI_EXTENSIONS = (".dscalar.nii", ".dtseries.nii")


@dataclass(frozen=True)
class Betas:
    """The responses of one run."""

    path: Path
    shown: RunShowings
    rows: tuple[int, ...]  #: the maps of the presentations in `shown`; the others show no film


def betas_of_run(pattern: str, bold: BidsFile, showings: Showings) -> Betas:
    """The image that `--betas` means for a run, with what the table beside it says was shown.

    The table has the image's name with the extension .tsv, a row a map and the column stim_file.

    Raises
    ------
    InputError : not one image for the run, no table, a table of another length, or no film in it
    """
    path = file_of_run(pattern, bold.run_entities, "--betas")
    ending = next((e for e in (*_CIFTI_EXTENSIONS, *IMAGE_EXTENSIONS) if path.name.endswith(e)), None)
    if ending is None:
        raise InputError(
            f"{path}: responses of clips come as NIfTI or CIFTI (dscalar.nii); found another file."
        )
    is_cifti = ending in _CIFTI_EXTENSIONS
    if is_cifti != (bold.extension in _CIFTI_EXTENSIONS):
        raise InputError(
            f"{path} is {'a CIFTI' if is_cifti else 'a NIfTI'} file and the run is analysed as {bold.path.name}; "
            "choose the space of the responses with --output-spaces."
        )
    table = path.with_name(path.name.removesuffix(ending) + ".tsv")
    shown, rows = showings.of_beta_rows(table)
    n_maps = _n_maps(path, is_cifti)
    n_rows = len(table.read_text(encoding="utf-8-sig").strip().splitlines()) - 1
    if n_rows != n_maps:
        raise InputError(f"{table} has {n_rows} rows and {path.name} {n_maps} maps; they must be as many.")
    return Betas(path, shown, rows)


def _n_maps(path: Path, is_cifti: bool) -> int:
    if is_cifti:
        from cinebold.bold.cifti import load_cifti

        return int(load_cifti(path).shape[0])
    shape = read_header(path).shape
    if len(shape) != 4:
        raise InputError(f"{path} must hold one map a presentation (4-D), but its shape is {shape}.")
    return int(shape[3])
