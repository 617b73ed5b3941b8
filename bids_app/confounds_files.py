"""Files that say what is regressed out: a strategy as YAML, and a table of further regressors for each run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bids_app.fields import complaint, is_yaml
from bids_app.recipe_tables import OwnConfounds
from cinebold.errors import InputError, SettingError

#: In a pattern and in file names; the entity itself (`sub`) does as well.
_LONG_NAMES = {
    "subject": "sub",
    "participant": "sub",
    "session": "ses",
    "acquisition": "acq",
    "direction": "dir",
}
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


def confounds_files(bold: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe's table `[bold]` that name files, as they are kept: content of the YAML, whole paths.

    Raises
    ------
    SettingError : there is no such YAML file, or it holds no mapping.
    """
    found = {}
    strategy, pattern = bold["confounds"], bold["extra_confounds"]
    if isinstance(strategy, str) and is_yaml(strategy):
        found["confounds"] = _read_yaml(Path(strategy).expanduser())
    if pattern is not None:
        found["extra_confounds"] = str(Path(pattern).expanduser().absolute())
    return found


def file_of_run(pattern: str, entities: Mapping[str, str], option: str) -> Path:
    """The one file that a pattern means for a run.

    Parameters
    ----------
    pattern : a path in which `{sub}`, `{ses}`, `{task}`, `{run}` and other entities stand for the run's, and `*` for
        anything
    entities : of the run
    option : where the pattern was given, for messages

    Raises
    ------
    InputError : the run has no such entity, or not exactly one file fits.
    """
    values = dict(entities) | {long: entities[key] for long, key in _LONG_NAMES.items() if key in entities}
    unknown = [name for name in _PLACEHOLDER.findall(pattern) if name not in values]
    if unknown:
        raise InputError(
            f"{option} has {{{unknown[0]}}}, which is no entity of this run; it has "
            f"{', '.join(f'{{{key}}}' for key in entities)}."
        )
    path = Path(_PLACEHOLDER.sub(lambda match: values[match[1]], pattern))
    found = [path]
    if not path.is_file():
        below = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        found = sorted(one for one in below if one.is_file())
    if len(found) != 1:
        names = f" ({', '.join(one.name for one in found)})" if found else ""
        raise InputError(
            f"{option} needs one file for each run, and {len(found)} files fit {path}{names}; add the file, or "
            "correct the pattern."
        )
    return found[0]


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise SettingError(f"--nuisance-regressors: there is no file {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise SettingError(
            f"{path} must hold keys such as `columns: [motion6, csf]`, found {type(content).__name__}"
        )
    try:
        own = OwnConfounds.model_validate({"name": re.sub(r"[^\w -]", "-", path.stem)} | content)
    except ValidationError as error:
        raise SettingError(f"{path}: {complaint(error, options=False)}") from None
    return own.model_dump()
