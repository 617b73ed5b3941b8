"""Which folders are datasets: the raw one, and fMRIPrep's derivatives with the version that wrote them."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cinebold.errors import InputError

logger = logging.getLogger(__name__)


def check_raw_dataset(bids_dir: str | Path) -> Path:
    """The absolute path of a raw BIDS dataset.

    Raises
    ------
    InputError : there is no such folder, it is no BIDS dataset, or it is a derivative.
    """
    bids_dir = Path(bids_dir).absolute()
    if not bids_dir.is_dir():
        raise InputError(f"the BIDS dataset {bids_dir} does not exist; give the folder of the raw dataset.")
    description = dataset_description(bids_dir)
    if description is None:
        raise InputError(
            f"{bids_dir} is not a BIDS dataset, because it has no dataset_description.json; "
            "give the folder that holds this file and the sub-* folders."
        )
    if str(description.get("DatasetType", "raw")).lower() == "derivative":
        raise InputError(
            f"{bids_dir} is a derivative dataset (DatasetType in its dataset_description.json), but the "
            f"events and "
            "films of the raw dataset are needed; give the raw dataset as BIDS_DIR and this one "
            f"as `-d fmriprep={bids_dir}`."
        )
    return bids_dir


def find_fmriprep(bids_dir: str | Path, derivatives: Mapping[str, str | Path]) -> Path:
    """The folder of fMRIPrep's derivatives: the one named `fmriprep`, else the only `derivatives/fmriprep*`.

    Raises
    ------
    InputError : there is none, there are several, or the dataset itself is a derivative.
    """
    bids_dir = check_raw_dataset(bids_dir)
    if "fmriprep" in derivatives:
        folder = Path(derivatives["fmriprep"]).absolute()
        if not folder.is_dir():
            raise InputError(
                f"the fMRIPrep derivatives {folder} (-d fmriprep=PATH) do not exist; correct the path."
            )
        return _inner_folder(folder)
    known = sorted(path for path in bids_dir.glob("derivatives/fmriprep*") if path.is_dir())
    if len(known) == 1:
        logger.info("no `-d fmriprep=PATH` was given; the derivatives in %s are used", known[0])
        return _inner_folder(known[0])
    if known:
        raise InputError(
            f"{len(known)} folders in {bids_dir / 'derivatives'} could be fMRIPrep's "
            f"({', '.join(path.name for path in known)}); choose one with `-d fmriprep=PATH`."
        )
    given = f" (-d names only {', '.join(sorted(derivatives))})" if derivatives else ""
    hint = "".join(f" {path} looks like one." for path in _other_fmripreps(bids_dir))
    raise InputError(
        f"no fMRIPrep derivatives were given{given} and there is no folder "
        f"{bids_dir / 'derivatives' / 'fmriprep'}; "
        f"run fMRIPrep first, or say where its output is with `-d fmriprep=PATH`.{hint}"
    )


def fmriprep_version(fmriprep_dir: str | Path) -> str | None:
    """The version of fMRIPrep that wrote the derivatives; None when their description does not say."""
    description = dataset_description(Path(fmriprep_dir)) or {}
    writers = description.get("GeneratedBy") or [description.get("PipelineDescription") or {}]
    for writer in writers if isinstance(writers, list) else []:
        if isinstance(writer, dict) and "fmriprep" in str(writer.get("Name", "")).lower():
            return str(writer["Version"]) if writer.get("Version") else None
    return None


def version_warning(version: str | None) -> str | None:
    """What is known to be wrong with the outputs of a version of fMRIPrep, in one sentence.

    >>> version_warning("23.2.0") is None
    True
    >>> version_warning("20.2.1")[:60]
    'the derivatives were written by fMRIPrep 20.2.1, which is kn'
    """
    if version is None:
        return (
            "the derivatives do not say which version of fMRIPrep wrote them, so known faults cannot be "
            "checked."
        )
    number = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    release = tuple(int(part or 0) for part in number.groups()) if number else ()
    for first, last, fault in _FAULTY_VERSIONS:
        if first <= release <= last:
            return f"the derivatives were written by fMRIPrep {version}, which is known for a fault: {fault}."
    return None


#: First and last faulty release, and the fault (fMRIPrep's own list of flagged versions, and its change log).
_FAULTY_VERSIONS = (
    ((20, 0, 0), (20, 0, 999), "its CIFTI files are erroneous (volumes are not concerned)"),
    (
        (20, 1, 0),
        (20, 2, 1),
        "functional images in standard space can be wrong (fmriprep issue 2307); "
        "preprocess again with a later version",
    ),
    (
        (25, 1, 0),
        (25, 1, 999),
        "its interpolation leaves artifacts in some datasets; preprocess again with 25.2 or later",
    ),
)


def dataset_description(folder: Path) -> dict[str, Any] | None:
    """The content of dataset_description.json; None when there is no such file."""
    path = folder / "dataset_description.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); correct the file.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, but holds a {type(content).__name__}; correct it.")
    return content


def _inner_folder(folder: Path) -> Path:
    """Before 21.0, fMRIPrep wrote into OUT/fmriprep; who gives OUT means that folder."""
    if not any(folder.glob("sub-*/")) and any((folder / "fmriprep").glob("sub-*/")):
        logger.info("%s has the old layout of fMRIPrep; its folder fmriprep/ is used", folder)
        return folder / "fmriprep"
    return folder


def _other_fmripreps(bids_dir: Path) -> list[Path]:
    """Folders below derivatives/ whose description names fMRIPrep."""
    patterns = ("derivatives/*/dataset_description.json", "derivatives/*/*/dataset_description.json")
    folders = sorted(path.parent for pattern in patterns for path in bids_dir.glob(pattern))
    return [folder for folder in folders if fmriprep_version(folder) is not None]
