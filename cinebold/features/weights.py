"""Pretrained weights: found by documented names, checked, put into a network. Nothing is downloaded."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinebold.errors import InputError, MissingWeightsError, SettingError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a network may be."""

    network: str
    file_names: tuple[str, ...]  #: in the order in which they are looked for
    url: str  #: where a user gets the first of them
    state_key: str | None = None  #: the entry of a checkpoint that holds the weights, if it has one


def find_weights(source: WeightsSource, weights_dir: str | Path | None) -> Path:
    """The first file of the source's names in `weights_dir`, then in the cache of torch.hub.

    Raises
    ------
    MissingWeightsError
        Which names were looked for, where, and how to get the file.
    """
    folders = [_hub_checkpoints()]
    if weights_dir is not None:
        if not Path(weights_dir).is_dir():
            raise SettingError(f"The folder of weights {weights_dir} does not exist.")
        folders.insert(0, Path(weights_dir))
    for folder in folders:
        for name in source.file_names:
            if (folder / name).is_file():
                return folder / name
    raise MissingWeightsError(
        f"{source.network} needs its pretrained weights: looked for {', '.join(source.file_names)} in "
        f"{' and '.join(map(str, folders))}; download {source.url}, or run `cinebold-features fetch {source.network} "
        "--weights-dir DIR` where there is a network, and name the folder with --weights-dir."
    )


def load_weights(network: "torch.nn.Module", path: Path, state_key: str | None = None) -> None:
    """Put the weights of a file into a network; every name and shape must agree.

    Parameters
    ----------
    path : a .safetensors file, or a checkpoint of torch (read with weights_only=True)
    state_key : the checkpoint's entry that holds the weights; a file without it must hold nothing but weights

    Raises
    ------
    InputError
        When the file cannot be read, or its weights are not this network's.
    """
    state = read_state(path, state_key)
    wanted = network.state_dict()
    missing, unexpected = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unexpected:
        raise InputError(
            f"{path}: these are not the weights of this network: {len(missing)} entries are "
            f"missing{_example(missing)} and {len(unexpected)} are unexpected{_example(unexpected)}."
        )
    for name, values in wanted.items():
        if tuple(state[name].shape) != tuple(values.shape):
            raise InputError(
                f"{path}: expected {name} of shape {tuple(values.shape)}, found {tuple(state[name].shape)}."
            )
    network.load_state_dict(state)


def read_state(path: Path, state_key: str | None = None) -> Mapping[str, Any]:
    """The weights of a file by name; see `load_weights`."""
    import pickle

    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load_file

            try:
                content: Any = load_file(path)
            except SafetensorError as error:
                raise ValueError(str(error)) from error
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: expected a file of network weights, but it cannot be read ({reason})."
        ) from error
    if state_key is not None and isinstance(content, Mapping) and state_key in content:
        content = content[state_key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise InputError(f"{path}: expected a table of network weights, found something else.")
    return content


def _hub_checkpoints() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"


def _example(names: list[str]) -> str:
    return f" (e.g. {names[0]})" if names else ""
