"""What an image and its sidecars say: shape, grid, times. And whether the file is really there."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.layouts import BidsFile, inherited
from cinebold.errors import InputError

#: Header and sidecar may differ by rounding only.
TR_TOLERANCE_S = 1e-3
_POINTER_BYTES = 32_768


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a NIfTI file says."""

    shape: tuple[int, ...]
    affine: np.ndarray
    tr_s: float | None  #: None: the header gives no plausible one
    states_tr: bool = True  #: False: files of this kind have no place for one


@dataclass(frozen=True)
class Timing:
    """When the volumes of a run were taken."""

    tr_s: float
    start_time_s: float | None
    slice_timing_corrected: bool
    warnings: tuple[str, ...]


def read_header(path: Path) -> ImageHeader:
    """The header of an image; the voxels are not read.

    Raises
    ------
    InputError : the file is a git-annex pointer, empty, or no NIfTI image.
    """
    import nibabel

    check_content(path)
    try:
        image = nibabel.load(path)
        shape, affine = tuple(int(n) for n in image.shape), np.asarray(image.affine, dtype=float)
        header = image.header
        zooms, unit = header.get_zooms(), header.get_xyzt_units()[1]
    except (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        OSError,
        EOFError,
    ) as error:
        raise InputError(
            f"{path} cannot be read as a NIfTI image ({error}); get or write the file again."
        ) from error
    tr_s = float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) if len(shape) == 4 else math.nan
    return ImageHeader(shape, affine, tr_s if math.isfinite(tr_s) and tr_s > 0 else None)


def read_timing(
    bold: Path, header: ImageHeader, sidecar: dict[str, Any], raw_sidecar: dict[str, Any]
) -> Timing:
    """Repetition time, start time and slice timing of a run; the sidecar goes before the header.

    Where fMRIPrep's sidecar has no RepetitionTime the raw one is asked, then the header.
    """
    warnings = []
    stated = [_positive(source.get("RepetitionTime"), bold) for source in (sidecar, raw_sidecar)]
    tr_s = next((value for value in stated if value is not None), None)
    if tr_s is None:
        if header.tr_s is None:
            raise InputError(
                f"no repetition time is known for {bold}: neither a sidecar (RepetitionTime) nor the header "
                "gives one; add RepetitionTime to its JSON sidecar."
            )
        tr_s = header.tr_s
        warnings.append(f"{bold.name}: no sidecar gives RepetitionTime; the header's {tr_s:g} s is used.")
    elif header.tr_s is None:
        if header.states_tr:
            warnings.append(
                f"{bold.name}: the header gives no repetition time; the sidecar's {tr_s:g} s is used."
            )
    elif abs(tr_s - header.tr_s) > TR_TOLERANCE_S:
        warnings.append(
            f"{bold.name}: the repetition time is {tr_s:g} s in the sidecar but {header.tr_s:g} s in the "
            f"header; "
            "the sidecar's is used."
        )
    start_time_s = sidecar.get("StartTime")
    if start_time_s is not None and (not _is_number(start_time_s) or start_time_s < 0):
        raise InputError(
            f"StartTime of {bold} must be a time in seconds, not {start_time_s!r}; correct its sidecar."
        )
    corrected = sidecar.get("SliceTimingCorrected") is True
    if start_time_s is None and not corrected:
        # Nothing is acquired in the delay at the end of a repetition: the middle of a volume comes earlier.
        delay_s = _positive(sidecar.get("DelayTime") or raw_sidecar.get("DelayTime"), bold, "DelayTime")
        start_time_s = None if delay_s is None or delay_s >= tr_s else (tr_s - delay_s) / 2
    if corrected and start_time_s is None:
        warnings.append(
            f"{bold.name}: slice timing was corrected but the sidecar gives no StartTime, so the time "
            f"within the "
            "repetition time to which the slices were moved is not known."
        )
    return Timing(tr_s, None if start_time_s is None else float(start_time_s), corrected, tuple(warnings))


def read_sidecar(
    files: Iterable[BidsFile], entities: dict[str, str], folder: Path, suffix: str
) -> dict[str, Any]:
    """The metadata of a data file, inherited from the root down; the closer sidecar wins."""
    metadata: dict[str, Any] = {}
    # fMRIPrep writes what is about the CIFTI file into a second sidecar.
    files = tuple(files)
    for file in (
        *inherited(files, entities, folder, suffix, ".json"),
        *inherited(files, entities, folder, suffix, ".dtseries.json"),
    ):
        check_content(file.path)
        try:
            content = json.loads(file.path.read_text(encoding="utf-8-sig"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{file.path} is not valid JSON ({error}); correct the file.") from error
        if not isinstance(content, dict):
            raise InputError(
                f"{file.path} must hold a JSON object, not a {type(content).__name__}; correct the file."
            )
        metadata |= content
    return metadata


def check_content(path: Path) -> None:
    """Raise an InputError when the file's content is not on this machine."""
    if problem := content_problem(path):
        raise InputError(problem)


def content_problem(path: Path) -> str | None:
    """Why the content of a file cannot be read, in one sentence; None when all is well.

    DataLad datasets hold links into .git/annex that lead nowhere until the content is fetched, or small text
    files that stand for it.
    """
    if path.is_symlink() and not path.exists():
        return (
            f"{path} is a link to a file that is not here (a git-annex file without content?); run "
            f"`datalad get` on it."
        )
    if not path.is_file():
        return f"{path} does not exist."
    size = path.stat().st_size
    if size == 0:
        return f"{path} is empty; get or write the file again."
    if size < _POINTER_BYTES:
        with open(path, "rb") as stream:
            start = stream.read(64)
        if start.startswith((b"/annex/objects/", b"version https://git-lfs")):
            return f"{path} is a git-annex or git-lfs pointer instead of the file; run `datalad get` on it."
    return None


def _positive(value: Any, bold: Path, key: str = "RepetitionTime") -> float | None:
    if value is None:
        return None
    if not _is_number(value) or value <= 0:
        raise InputError(
            f"{key} of {bold} must be a positive number of seconds, not {value!r}; correct its sidecar."
        )
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
