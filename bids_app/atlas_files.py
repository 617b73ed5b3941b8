"""The atlas that an option or a recipe names: a file, or one that TemplateFlow has put on this machine."""

import os
from pathlib import Path

from cinebold.bold.atlases import atlas_files, templateflow_atlas
from cinebold.errors import InputError, SettingError

#: By the geometry of the runs: what the files of an atlas end with, and what it is called.
_KINDS = {
    "volume": ((".nii.gz", ".nii"), "a NIfTI image of labels"),
    "surface": ((".label.gii", ".gii"), "the label.gii of the left hemisphere, with hemi-L in its name"),
    "cifti": ((".dlabel.nii",), "a dlabel.nii"),
}
_EXTENSIONS = tuple(extension for extensions, _ in _KINDS.values() for extension in extensions)


def atlas_file(choice: str | None, space: str) -> str | None:
    """The path of the atlas that was chosen, or None where there is none.

    Parameters
    ----------
    choice : a path, the name of an atlas of TemplateFlow with further entities after colons, or "none"
    space : that is analysed, whose atlases TemplateFlow is asked for

    Raises SettingError where there is no such file or no such atlas on this machine.
    """
    if choice in (None, "none"):
        return None
    path = Path(os.path.abspath(Path(choice).expanduser()))
    if path.is_file():
        return str(path)
    if os.sep in choice or choice.endswith(_EXTENSIONS):
        raise SettingError(
            f"--atlas: there is no file {choice}; give the path of an atlas, or a name out of TemplateFlow such as "
            "Schaefer2018:desc-100Parcels7Networks."
        )
    try:
        return str(templateflow_atlas(space, choice))
    except InputError as error:
        raise SettingError(f"--atlas: {error}") from None


def remarks_on_atlas(atlas: str | None, space: str | None) -> list[str]:
    """A sentence where an atlas of volumes is, by the name of its file, in another space than the runs."""
    if atlas is None or space is None:
        return []
    entities = dict(part.partition("-")[::2] for part in Path(atlas).name.partition(".")[0].split("_"))
    own = entities.get("space", entities.get("tpl", space))
    if own == space:
        return []
    return [
        f"the atlas {Path(atlas).name} is in the space {own} by its name, and the runs are in {space}: parcels "
        "are not where they should be as far as these differ."
    ]


def check_atlas(atlas: str | None, kind: str) -> None:
    """Raise SettingError where an atlas is not of the kind that the runs need, "volume", "surface" or "cifti"."""
    if atlas is None:
        return
    extensions, expected = _KINDS[kind]
    name = Path(atlas).name
    fits = name.endswith(extensions) and name.endswith(".dlabel.nii") == (kind == "cifti")
    if not fits or (kind == "surface" and "hemi-L" not in name):
        what = {"volume": "volumes", "surface": "surfaces", "cifti": "grayordinates"}[kind]
        raise SettingError(f"--atlas: an atlas of {what} is {expected}, found {name}.")
    missing = [Path(path).name for path in atlas_files(atlas) if not Path(path).is_file()]
    if missing:
        raise SettingError(f"--atlas: {name} needs {missing[0]} beside it, and it is not there.")
