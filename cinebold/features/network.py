"""What extractors that run a network have in common: weights, device, windows of frames, batches.

A family defines where its windows are, how a frame is prepared, its network and what is read from it
(`NetworkExtractor`); frames stream through `WindowAccumulator`, which keeps those of unfinished windows only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cinebold.errors import SettingError
from cinebold.features.accumulation import WindowAccumulator
from cinebold.features.network_options import YOUNGER, without_defaults
from cinebold.features.parameters import parameters_from
from cinebold.features.weights import WeightsSource, find_weights, load_weights
from cinebold.files import file_sha256
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one film: the film times of their frames."""

    times_s: np.ndarray  #: (n_windows,)
    samples_s: (
        np.ndarray
    )  #: (n_windows, n_frames), ascending in each window, their last ones from window to window
    pad_fraction: np.ndarray  #: (n_windows,)
    blank: np.ndarray | None = (
        None  #: (n_windows, n_frames) bool: frames of zeros; None: the film's ends stand still
    )
    bin_s: float | None = None  #: windows are averaged over bins of this width; None: each is kept

    @classmethod
    def of_rule(cls, rule: WindowRule, duration_s: float, bin_s: float | None = None) -> "Windows":
        """Every window of a rule."""
        return cls(
            rule.times(duration_s), rule.sample_times(duration_s), rule.pad_fraction(duration_s), bin_s=bin_s
        )


class NetworkExtractor:
    """A pretrained network over windows of frames."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    parameter_kind: ClassVar[type]
    source: ClassVar[WeightsSource]
    batch: ClassVar[Mapping[str, int]]  #: windows that go through the network together, by the kind of device
    younger: ClassVar[tuple[str, ...]] = YOUNGER  #: parameters whose defaults a fingerprint does not mention

    def __init__(
        self,
        parameters: Any,
        *,
        device: str = "cpu",
        weights_dir: str | None = None,
        random_weights: bool = False,
        seed: int = 0,
    ) -> None:
        self.parameters = parameters
        self.device = device
        self.seed = seed
        self.weights = None if random_weights else find_weights(self.source, weights_dir)
        self._weights_sha256 = None if self.weights is None else file_sha256(self.weights)
        self._network: Any = None

    @classmethod
    def check_parameters(cls, given: Mapping[str, Any]) -> Any:
        """The parameters that `given` means; SettingError when it makes no sense."""
        return parameters_from(cls.parameter_kind, cls.name, given)

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film."""
        return {
            "extractor": self.name,
            "version": self.version,
            "parameters": without_defaults(asdict(self.parameters), self.parameter_kind, self.younger),
            **self.describe(),
            "random_weights": self.weights is None,
            **self.weights_identity(),
        }

    def weights_identity(self) -> dict[str, Any]:
        """The hash of the weights' file, or the seed of random ones."""
        return {"seed": self.seed} if self.weights is None else {"weights_sha256": self._weights_sha256}

    def start(self, info: FilmInfo) -> WindowAccumulator:
        """An accumulator for one film; the network is built and loaded once."""
        self.make_ready()
        return WindowAccumulator(self, info)

    def make_ready(self) -> None:
        """Build and load the network, unless it is there."""
        if self._network is None:
            self._network = self._build()

    def _build(self) -> Any:
        return self.loaded().to(self.device)

    def loaded(self) -> "torch.nn.Module":
        """The network with its weights, ready to evaluate, on the CPU; SettingError without the GPU asked for."""
        import torch

        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise SettingError(
                f"The device {self.device} was asked for, but torch finds no GPU; use --device cpu."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.untrained()
        if self.weights is not None:
            load_weights(network, self.weights, self.source.state_key)
        return network.eval()

    def describe(self) -> dict[str, Any]:
        """What the fingerprint says of windows and layers besides the parameters."""
        raise NotImplementedError

    def untrained(self) -> "torch.nn.Module":
        """The network, its weights drawn from torch's generator."""
        raise NotImplementedError

    def windows(self, info: FilmInfo) -> Windows:
        """Where the windows of a film are."""
        raise NotImplementedError

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """A frame, (h, w, 3) uint8, as the network wants it: (3, height, width) float32 on the device."""
        raise NotImplementedError

    def values(self, clips: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """What is read from the network for some windows of prepared frames: (n_windows, n_features) float32."""
        raise NotImplementedError

    def column_names(self) -> tuple[str, ...]:
        """The names of the features."""
        raise NotImplementedError

    @property
    def n_columns(self) -> int:
        """How many features there are."""
        return len(self.column_names())


def exact_inference() -> Any:
    """Evaluate without gradients in full float32 with fixed algorithms.

    On a GPU the defaults cost three digits and may change between runs.
    """
    from contextlib import ExitStack

    import torch

    stack = ExitStack()
    stack.enter_context(torch.inference_mode())
    stack.enter_context(
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    )
    return stack


def class_names(table: str) -> tuple[str, ...]:
    """The classes of "KINETICS400" or "IMAGENET", in the order of the logits of torchvision and pytorchvideo."""
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models import _meta

    return tuple(getattr(_meta, f"_{table}_CATEGORIES"))
