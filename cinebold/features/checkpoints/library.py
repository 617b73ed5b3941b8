"""The transformers library: imported where it is needed and without a network, its networks built and loaded."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinebold.errors import InputError, SettingError

if TYPE_CHECKING:
    import torch


def transformers_library() -> Any:
    """The library; SettingError where it is not installed."""
    # The library reads these when it is imported; nothing here asks for a file that is not in a folder anyway.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from cinebold.features.torchvision_guard import prepare_torchvision

    try:
        prepare_torchvision()
        import transformers
    except ImportError as error:
        raise SettingError(
            "This extractor needs the library transformers, which is not installed here; install cinebold with its "
            "extra: pip install 'cinebold[transformers]'."
        ) from error
    return transformers


def configuration(table: Mapping[str, Any], accepted: Sequence[str], path: Path) -> Any:
    """The library's configuration of a network.

    Parameters
    ----------
    table : what config.json holds
    accepted : values of model_type; none: whatever the library knows

    Raises
    ------
    InputError
        When it is the configuration of another kind of network.
    """
    transformers = transformers_library()
    kind = table.get("model_type")
    if accepted and kind not in accepted:
        raise InputError(f"{path}: expected model_type {' or '.join(accepted)}, found {kind!r}.")
    if table.get("quantization_config"):
        raise InputError(f"{path}: expected weights in floating point, found quantised ones.")
    try:
        return transformers.models.auto.configuration_auto.CONFIG_MAPPING[kind].from_dict(dict(table))
    except KeyError:
        raise InputError(
            f"{path}: model_type {kind!r} is not known to transformers {transformers.__version__}."
        ) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: transformers cannot read this configuration ({_line(error)}).") from error


def build(kind: Any, config: Any) -> "torch.nn.Module":
    """A network with drawn weights, float32, in the mode of evaluation."""
    return kind(config).float().eval()


def load(
    kind: Any,
    config: Any,
    state: Mapping[str, "torch.Tensor"],
    where: Path,
    *,
    unused: Iterable[str] = (),
    not_needed: Iterable[str] = (),
) -> "torch.nn.Module":
    """A network with the weights `state`, float32, in the mode of evaluation.

    Names that older versions of the library gave to weights are translated by the library, and so is the prefix that
    a network has inside another with a head. All others must agree, but for the two lists.

    Parameters
    ----------
    unused : beginnings of names in `state` that belong to a head or a tower that is not read
    not_needed : beginnings of names of the network that are never evaluated and may be missing

    Raises
    ------
    InputError
        When weights are missing or unexpected, or have another shape.
    """
    import torch

    with _quiet():
        try:
            network, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{where}: these weights cannot be loaded ({_line(error)}).") from error
    for name, found, expected in sorted(report["mismatched_keys"], key=str):
        raise InputError(f"{where}: expected {name} of shape {tuple(expected)}, found {tuple(found)}.")
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(tuple(not_needed)))
    # Constants that older versions stored with the weights.
    unexpected = sorted(
        name
        for name in report["unexpected_keys"]
        if not name.startswith(tuple(unused)) and not name.endswith(".position_ids")
    )
    if missing or unexpected or report["error_msgs"]:
        raise InputError(
            f"{where}: these are not the weights of {kind.__name__}: {len(missing)} entries are missing"
            f"{_example(missing)} and {len(unexpected)} are unexpected{_example(unexpected)}."
        )
    return network.eval()


class BlockOutputs:
    """What goes into the first block of a network and comes out of each, for the thread that asks."""

    def __init__(self, blocks: Sequence["torch.nn.Module"]) -> None:
        self._asked = threading.local()
        blocks[0].register_forward_pre_hook(self._enter)
        for index, block in enumerate(blocks, start=1):
            block.register_forward_hook(partial(self._leave, index))

    def of(
        self, evaluate: Callable[[], Any], indices: Iterable[int], *, stop: bool
    ) -> tuple[dict[int, "torch.Tensor"], Any]:
        """The outputs of blocks `indices` (0: what the first is given) and what `evaluate` gives; None with `stop`,
        where nothing after the last of the blocks is computed."""
        asked = self._asked
        asked.wanted, asked.found = frozenset(indices), {}
        asked.last = max(asked.wanted) if stop else None
        try:
            return asked.found, evaluate()
        except _Enough:
            return asked.found, None
        finally:
            asked.wanted, asked.last = frozenset(), None

    def _enter(self, block: Any, given: tuple[Any, ...]) -> None:
        self._keep(0, given[0])

    def _leave(self, index: int, block: Any, given: Any, output: Any) -> None:
        self._keep(index, output[0] if isinstance(output, tuple) else output)

    def _keep(self, index: int, values: Any) -> None:
        if index in getattr(self._asked, "wanted", ()):
            self._asked.found[index] = values
            if index == self._asked.last:
                raise _Enough


class _Enough(Exception):
    """The deepest block that is wanted has been computed."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own report and progress bar; what it reports is judged here."""
    from transformers.utils import logging

    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _example(names: list[str]) -> str:
    return f" (e.g. {names[0]})" if names else ""
