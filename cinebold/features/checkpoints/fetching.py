"""Download of a checkpoint's folder from the Hugging Face hub, on the user's word only."""

from collections.abc import Callable, Iterable
from pathlib import Path

from cinebold.errors import DownloadError
from cinebold.features.checkpoints.folder import CONFIG, VIDEO_PREPROCESSORS, WEIGHTS, CheckpointFolder
from cinebold.features.fetching import fetch_weights
from cinebold.features.weights import WeightsSource

HUB = "https://huggingface.co"
_NOT_FOUND = 404


def fetch_checkpoint(
    name: str,
    folder: str | Path,
    on_progress: Callable[[int, int | None], None] = lambda n_bytes, n_total: None,
    *,
    hub: str = HUB,
) -> tuple[Path, bool]:
    """See that the files of a checkpoint are in `folder`/organisation--name, where they are looked for.

    The weights are the first of `WEIGHTS` that the hub has, with all parts that an index names. `config.json` comes
    last: a folder without it is not taken for a checkpoint, so that an interrupted download is never used.

    Parameters
    ----------
    name : "organisation/name" on the hub
    on_progress : told of the bytes so far and of all bytes of each file

    Returns
    -------
    the folder, and whether anything was downloaded now

    Raises
    ------
    DownloadError
        What could not be had, from where, and why.
    """
    target = Path(folder) / name.replace("/", "--")
    if (target / CONFIG).is_file():
        return target, False

    def fetch(file: str) -> bool:
        """Whether the hub has the file, which then is here."""
        source = WeightsSource(name, (file,), f"{hub}/{name}/resolve/main/{file}")
        try:
            fetch_weights(source, target, on_progress)
        except DownloadError as error:
            if getattr(error.__cause__, "code", None) == _NOT_FOUND:
                return False
            raise
        return True

    def fetch_first(files: Iterable[str], what: str) -> str:
        tried = list(dict.fromkeys(files))
        found = next((file for file in tried if fetch(file)), None)
        if found is None:
            raise DownloadError(f"{name}: {hub} has no {what} of this name ({', '.join(tried)}).")
        return found

    weights = fetch_first(WEIGHTS, "weights")
    if weights.endswith(".index.json"):
        for part in CheckpointFolder(target).part_names():
            fetch_first([part], "part of the weights")
    fetch_first((file for file, _ in VIDEO_PREPROCESSORS), "preprocessing")
    fetch_first([CONFIG], "configuration")
    return target, True
