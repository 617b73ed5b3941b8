"""Folders that hold a network as the transformers library stores it: where they are, what is in them."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cinebold.errors import InputError, MissingWeightsError, SettingError
from cinebold.features.weights import read_state
from cinebold.files import file_sha256, read_json

CONFIG = "config.json"
#: In the order in which they are looked for. An index names the files over which large networks are spread.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Files that hold the numbers of the preprocessing, for networks of films and of pictures, and the entry of each.
VIDEO_PREPROCESSORS = (
    ("video_preprocessor_config.json", None),
    ("preprocessor_config.json", None),
    ("processor_config.json", "video_processor"),
)
PICTURE_PREPROCESSORS = (("preprocessor_config.json", None), ("processor_config.json", "image_processor"))


@dataclass(frozen=True)
class CheckpointFolder:
    """A folder with `config.json`, weights and the numbers of their preprocessing."""

    path: Path

    def config(self) -> dict[str, Any]:
        """The configuration as it stands in the file."""
        return _table(self.path / CONFIG)

    def preprocessor(self, names: tuple[tuple[str, str | None], ...]) -> tuple[Path, dict[str, Any]]:
        """The first of the files `names`, and its table; InputError where there is none."""
        for name, entry in names:
            path = self.path / name
            if path.is_file():
                table = _table(path)
                found = table if entry is None else table.get(entry)
                if isinstance(found, dict):
                    return path, found
        raise InputError(
            f"{self.path}: expected the preprocessing in {' or '.join(name for name, _ in names)}, found none; "
            "copy the file from where the checkpoint was published."
        )

    @property
    def weights_file(self) -> Path:
        """The weights, or the index of their parts; MissingWeightsError where there is none."""
        for name in WEIGHTS:
            if (self.path / name).is_file():
                return self.path / name
        raise MissingWeightsError(
            f"{self.path}: expected the weights in {', '.join(WEIGHTS)}, found none of them; download the whole folder."
        )

    def part_names(self) -> list[str]:
        """The names of the files of the weights, sorted; those that an index names need not be there."""
        file = self.weights_file
        if not file.name.endswith(".index.json"):
            return [file.name]
        names = _table(file).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise InputError(f"{file}: expected a table weight_map of weights and files, found none.")
        found = sorted({str(name) for name in names.values()})
        for name in found:
            if Path(name).name != name:
                raise InputError(f"{file}: expected names of files beside it, found {name}.")
        return found

    def parts(self) -> list[Path]:
        """The files of the weights, in the order of their names."""
        names = self.part_names()
        for name in names:
            if not (self.path / name).is_file():
                raise MissingWeightsError(
                    f"{self.weights_file} names {name}, which is not beside it; download the whole folder."
                )
        return [self.path / name for name in names]

    def state(self) -> dict[str, Any]:
        """All weights by name."""
        state: dict[str, Any] = {}
        for part in self.parts():
            state |= read_state(part)
        return state

    def weights_sha256(self) -> str:
        """The hash of the file of weights, or of the hashes of its parts."""
        parts = [_sha256(part, part.stat().st_size, part.stat().st_mtime_ns) for part in self.parts()]
        return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def find_checkpoint(extractor: str, name: str, weights_dir: str | Path | None) -> CheckpointFolder:
    """The folder of the checkpoint `name`.

    Parameters
    ----------
    name : as on the Hugging Face hub, "organisation/name"; or a path, which begins with "/", "./", "../" or "~"
    weights_dir : looked through for organisation--name, name and organisation/name, then the hub's cache is

    Raises
    ------
    MissingWeightsError
        Which folders were looked for, where, and how to get them.
    """
    if name.startswith(("/", "./", "../", "~")):
        path = Path(name).expanduser()
        if (path / CONFIG).is_file():
            return CheckpointFolder(path)
        raise MissingWeightsError(
            f"{extractor}: expected a checkpoint in the folder {name}, found no {CONFIG} there."
        )
    if weights_dir is not None and not Path(weights_dir).is_dir():
        raise SettingError(f"The folder of weights {weights_dir} does not exist.")
    double, last = name.replace("/", "--"), name.split("/")[-1]
    own = list(dict.fromkeys((double, last, name)))
    for folder in [Path(weights_dir) / one for one in own] if weights_dir is not None else []:
        if (folder / CONFIG).is_file():
            return CheckpointFolder(folder)
    caches = [*([Path(weights_dir)] if weights_dir is not None else []), hub_cache()]
    for cache in caches:
        for snapshot in _snapshots(cache / f"models--{double}"):
            if (snapshot / CONFIG).is_file():
                return CheckpointFolder(snapshot)
    where = f"{', '.join(own)} in {weights_dir} and for " if weights_dir is not None else ""
    target = weights_dir if weights_dir is not None else "WEIGHTS"
    raise MissingWeightsError(
        f"{extractor} needs its pretrained weights: looked for {where}models--{double} in {caches[-1]}; on a machine "
        f"with a network run `cinebold-features fetch {extractor}:{name} --weights-dir {target}` and name the folder "
        f"{target} with --weights-dir."
    )


def hub_cache() -> Path:
    """Where the Hugging Face hub keeps what it has downloaded."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("HF_HOME", cache / "huggingface")).expanduser() / "hub"


def _snapshots(folder: Path) -> Iterator[Path]:
    """The revision that "main" names; without it the only one there is."""
    main = folder / "refs" / "main"
    if main.is_file():
        yield folder / "snapshots" / main.read_text(encoding="utf-8").strip()
        return
    found = sorted((folder / "snapshots").glob("*"))
    if len(found) > 1:
        raise InputError(
            f"{folder}: expected one revision or refs/main, found {', '.join(one.name for one in found)}; name one of "
            "the folders as the parameter checkpoint."
        )
    yield from found


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Gigabytes are not read again for every layer and film, unless the file has changed."""
    return file_sha256(path)


def _table(path: Path) -> dict[str, Any]:
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a JSON file, but it cannot be read ({error}).") from error
    if not isinstance(table, dict):
        raise InputError(f"{path}: expected a table, found {type(table).__name__}.")
    return table
