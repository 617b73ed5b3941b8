"""The stage that puts results into the derivative dataset."""

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, OutputMultiObject, TraitedSpec, traits

from cinebold.bold.surfaces import hemisphere_name
from cinebold.files import atomic_path, write_text
from workflows.interfaces.base import StageInputSpec, StageInterface


class _InputSpec(StageInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    prefixes = traits.List(
        traits.Str, mandatory=True, desc="what each file's name is put behind; one for all, or one a file"
    )
    separator = traits.Str("_", usedefault=True)
    sidecar_json = traits.Str("{}", usedefault=True, desc="what the sidecar of every file says")
    specific_json = traits.Str(
        "{}",
        usedefault=True,
        desc="what it says besides, by file name or by the `stat-` label in it, with `_desc` where it has a `desc-`",
    )


class _OutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True))


class StoreDerivatives(StageInterface):
    """Copy files to their names in the dataset, with JSON sidecars. Runs each time; files that are right stay."""

    input_spec = _InputSpec
    output_spec = _OutputSpec
    _always_run = True

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        files = [Path(path) for path in inputs.in_files]
        prefixes = list(inputs.prefixes) * (len(files) if len(inputs.prefixes) == 1 else 1)
        common, specific = json.loads(inputs.sidecar_json), json.loads(inputs.specific_json)
        stored = []
        for source, prefix in zip(files, prefixes, strict=True):
            target = target_path(prefix + inputs.separator, source.name)
            store(source, target)
            stored.append(str(target))
            sidecar = common.copy()
            for key in (*_statistics(source.name), source.name):
                sidecar |= specific.get(key, {})
            if sidecar:
                stem = target.name.partition(".")[0]
                _write_if_changed(target.with_name(f"{stem}.json"), json.dumps(sidecar, indent=2) + "\n")
        return {"out_files": stored}


def target_path(prefix: str, name: str) -> Path:
    """Where a file goes; the `hemi-` that its name begins with moves to its place before `space-`.

    >>> target_path("out/sub-1_space-fsaverage5_", "hemi-L_stat-r_statmap.func.gii").name
    'sub-1_hemi-L_space-fsaverage5_stat-r_statmap.func.gii'
    """
    hemisphere, _, rest = name.partition("_")
    if not hemisphere.startswith("hemi-"):
        return Path(prefix + name)
    path = Path(prefix + rest)
    return path.with_name(hemisphere_name(path.name, hemisphere.removeprefix("hemi-")))


def store(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all, unless the same bytes are there already."""
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _statistics(name: str) -> list[str]:
    """What a file name says of its statistic: its `stat-` label, and that with `_desc` where it has a `desc-` too.

    >>> _statistics("stat-r_statmap.nii.gz"), _statistics("stat-r_desc-conv1_statmap.nii.gz"), _statistics("x.tsv")
    (['r'], ['r', 'r_desc'], [])
    """
    entities = dict(part.partition("-")[::2] for part in name.split("_"))
    found = [entities["stat"]] if "stat" in entities else []
    return [*found, *(f"{label}_desc" for label in found if "desc" in entities)]


def maps_by_statistic(paths: list[str]) -> dict[str, str]:
    """Maps by what stands in their names: "r", "q", and with a description "weight-motionenergy".

    Of two hemispheres the left one's file stands for both.

    >>> maps_by_statistic(["/a/stat-r_statmap.nii.gz", "/a/stat-weight_desc-lowlevel_statmap.nii.gz"])
    {'r': '/a/stat-r_statmap.nii.gz', 'weight-lowlevel': '/a/stat-weight_desc-lowlevel_statmap.nii.gz'}
    """
    found = {}
    for path in paths:
        entities = dict(part.partition("-")[::2] for part in Path(path).name.split("_"))
        if entities.get("hemi") == "R":
            continue
        found["-".join(filter(None, (entities["stat"], entities.get("desc"))))] = path
    return found
