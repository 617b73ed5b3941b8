"""The names of spaces and densities: what `--output-spaces` says, and what files are called."""

from collections.abc import Iterable, Mapping

#: FreeSurfer's own names of fsaverage in other densities, which fMRIPrep uses too.
_FSAVERAGE = {
    "fsaverage3": "642",
    "fsaverage4": "2562",
    "fsaverage5": "10k",
    "fsaverage6": "41k",
    "fsaverage": "164k",
}
_NATIVE = frozenset({"func", "bold", "boldref", "run"})


def space_entity(space: str | None) -> str | None:
    """The value of `space` in file names; None: the BOLD's own space has none."""
    if space is None or space in _NATIVE:
        return None
    return "T1w" if space == "anat" else space


def surface(space: str | None, density: str | None) -> tuple[str | None, str | None]:
    """Space and density with one name for one surface.

    >>> surface("fsaverage5", None), surface("fsaverage", "10k"), surface("fsaverage", None)
    (('fsaverage', '10k'), ('fsaverage', '10k'), ('fsaverage', '164k'))
    >>> surface("fsLR", "91k"), surface("fsnative", None)
    (('fsLR', '91k'), ('fsnative', None))
    """
    if space == "fsaverage" and density is not None:
        return space, density
    if space in _FSAVERAGE:
        return "fsaverage", _FSAVERAGE[space]
    return space, density


def is_surface(
    space: str | None, density: str | None, wanted_space: str | None, wanted_density: str | None
) -> bool:
    """Whether a file's space and density are those that are wanted; no density wanted: any."""
    found, density = surface(space, density)
    wanted, wanted_density = surface(wanted_space, wanted_density)
    return found == wanted and wanted_density in (None, density)


def label_of(entities: Mapping[str, str], keys: Iterable[str] = ("cohort", "res", "den")) -> str:
    """A file's space as `--output-spaces` takes it.

    >>> label_of({"space": "MNI152NLin6Asym", "res": "2"}), label_of({"space": "fsLR", "den": "91k"})
    ('MNI152NLin6Asym:res-2', 'fsLR:den-91k')
    """
    return entities.get("space", "func") + "".join(
        f":{key}-{entities[key]}" for key in keys if key in entities
    )
