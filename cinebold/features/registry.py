"""The extractors by name. A new one is one file and one line here; its module is imported when asked for."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cinebold.errors import SettingError
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo

_EXTRACTORS = {
    "low_level": "cinebold.features.low_level:LowLevel",
    "motion_energy": "cinebold.features.motion_energy:MotionEnergy",
    "slowfast_r50": "cinebold.features.slowfast:SlowFastR50",
    "slowfast_r101": "cinebold.features.slowfast:SlowFastR101",
    "slow_r50": "cinebold.features.slow:SlowR50",
    "x3d_xs": "cinebold.features.x3d:X3DXS",
    "x3d_s": "cinebold.features.x3d:X3DS",
    "x3d_m": "cinebold.features.x3d:X3DM",
    "x3d_l": "cinebold.features.x3d:X3DL",
    "alexnet": "cinebold.features.alexnet:AlexNet",
    "s3d": "cinebold.features.s3d:S3D",
    "resnet50": "cinebold.features.resnet50:ResNet50",
    "mvit_v2_s": "cinebold.features.mvit:MViTv2S",
    "vjepa2": "cinebold.features.checkpoints.films:VJEPA2",
    "videomae": "cinebold.features.checkpoints.films:VideoMAE",
    "clip": "cinebold.features.checkpoints.frames:CLIP",
    "dinov2": "cinebold.features.checkpoints.frames:DINOv2",
    "checkpoint": "cinebold.features.checkpoints.classifier:Checkpoint",
    "precomputed": "cinebold.features.precomputed:Precomputed",
    "presence": "cinebold.features.presence:Presence",
}


class Accumulator(Protocol):
    """Takes the frames of one film in order and keeps no more of them than its windows need."""

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame, (height, width, 3) uint8 RGB, and when it appears."""

    def finish(self) -> FeatureSeries:
        """The features, once all frames were added."""


class Extractor(Protocol):
    """A way to describe films; holds its parameters and, where it has some, its weights."""

    name: str

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film; JSON-able."""

    def start(self, info: FilmInfo) -> Accumulator:
        """An accumulator for one film."""


def create_extractor(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    weights_dir: str | None = None,
    random_weights: bool = False,
    seed: int = 0,
    basis: str | Path | None = None,
) -> Extractor:
    """The extractor `name` with its parameters; those not given have their defaults.

    Parameters
    ----------
    device : "cpu" or "cuda[:N]"
    weights_dir : where the files of pretrained weights are
    random_weights : untrained weights, drawn with `seed`, for tests; the series say so
    basis : a file of `cinebold.features.basis_fit.fit_basis`, to whose components windows are reduced as they stream

    Raises
    ------
    SettingError, MissingWeightsError, InputError
        A parameter or the name is unknown; the weights are not on this machine; they are not the network's; the basis
        is of other features.
    """
    if basis is not None:
        from cinebold.features.nodes import layers_of_any_size
        from cinebold.features.reduction import reduced

        with layers_of_any_size():
            whole = create_extractor(
                name,
                parameters,
                device=device,
                weights_dir=weights_dir,
                random_weights=random_weights,
                seed=seed,
            )
        return reduced(whole, basis)
    kind = extractor_class(name)
    return kind(
        kind.check_parameters(parameters or {}),
        device=device,
        weights_dir=weights_dir,
        random_weights=random_weights,
        seed=seed,
    )


def needs_frames(extractor: Extractor) -> bool:
    """Whether its accumulators look at frames; those of an extractor with `needs_frames = False` get none."""
    return getattr(extractor, "needs_frames", True)


def has_weights(kind: Any) -> bool:
    """Whether extractors of this class run a network, which may have random weights."""
    return getattr(kind, "source", None) is not None or hasattr(kind, "find_weights")


def bound_to(extractor: Extractor, film: str | Path) -> Extractor:
    """The extractor as it is for that film: one that reads a file beside each film knows now which."""
    bind = getattr(extractor, "for_film", None)
    return extractor if bind is None else bind(Path(film))


def extractor_names() -> tuple[str, ...]:
    """The names that `create_extractor` knows."""
    return tuple(_EXTRACTORS)


def validate_parameters(name: str, parameters: Mapping[str, Any], *, with_basis: bool = False) -> None:
    """Raise SettingError when the name or a parameter makes no sense; loads neither torch nor weights.

    `with_basis`: the features will be reduced by a basis, so that layers may be of any size.
    """
    check = extractor_class(name).check_parameters
    if not with_basis:
        check(parameters)
        return
    from cinebold.features.nodes import layers_of_any_size

    with layers_of_any_size():
        check(parameters)


def extractor_class(name: str) -> Any:
    """The class of an extractor, not yet made; SettingError for another name."""
    if name not in _EXTRACTORS:
        raise SettingError(f"Unknown feature extractor {name!r}; there are {', '.join(_EXTRACTORS)}.")
    module, attribute = _EXTRACTORS[name].split(":")
    return getattr(import_module(module), attribute)
