"""Any network of transformers that classifies films or pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cinebold.errors import InputError
from cinebold.features.checkpoints.extractor import TokenExtractor, check_frames, hidden_indices
from cinebold.features.checkpoints.folder import CONFIG
from cinebold.features.checkpoints.library import build, transformers_library
from cinebold.features.checkpoints.pictures import PictureRecipe
from cinebold.features.checkpoints.tokens import ClipTokenParameters, stacked_clips
from cinebold.features.framewise import check_clock, clock_windows, describe_clock
from cinebold.features.network import Windows
from cinebold.features.parameters import require
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule

if TYPE_CHECKING:
    import torch

_FILMS, _PICTURES = "ForVideoClassification", "ForImageClassification"


@dataclass(frozen=True, kw_only=True)
class CheckpointParameters(ClipTokenParameters):
    """What is read from the network, and when."""

    layer: str = "logits"  #: "logits": the classes before the softmax; or a hidden state
    rate_hz: float = 4.0  #: of networks of pictures: frames a second that are looked at
    frames: int = 0  #: of networks of films: of a window; 0: as many as the checkpoint is for

    def __post_init__(self) -> None:
        self.check("checkpoint", Checkpoint.outputs)
        check_clock("checkpoint", self)
        require("checkpoint", self.frames >= 0, "frames must not be negative", self.frames)


class Checkpoint(TokenExtractor):
    """Classes or hidden states of a network whose configuration names one for classification.

    Networks of films see windows of `frames` frames, `step_s` apart, every `hop_s`; networks of pictures see `rate_hz`
    frames a second, which are averaged over bins of `hop_s`.
    """

    name = "checkpoint"
    parameter_kind = CheckpointParameters
    hub_name = "google/vit-base-patch16-224"
    outputs = ("logits",)
    default_recipe = PictureRecipe(size=(224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    batch: Mapping[str, int] = {"cpu": 4, "cuda": 16}

    @staticmethod
    def reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
        """Hidden states as the library collects them: tokens (channels, tokens), maps as they are."""
        states = hidden_indices(nodes)

        def laid_out(values: "torch.Tensor") -> "torch.Tensor":
            return values.transpose(1, 2).contiguous() if values.ndim == 3 else values

        def read(batch: "torch.Tensor") -> dict[str, "torch.Tensor"]:
            given = network(**{network.main_input_name: batch}, output_hidden_states=bool(states))
            return {
                node: laid_out(given.hidden_states[states[node]]) if node in states else given.logits
                for node in nodes
            }

        return read

    @cached_property
    def architecture(self) -> str:
        """The library's class that the configuration names."""
        if self.folder is None:
            return "ViTForImageClassification"
        table = self.folder.config()
        found = [str(one) for one in table.get("architectures") or ()]
        for name in found:
            if (_FILMS in name or _PICTURES in name) and hasattr(transformers_library(), name):
                return name
        raise InputError(
            f"{self.folder.path / CONFIG}: expected a network for the classification of films or "
            f"pictures among its architectures, found {', '.join(found) or 'none'}."
        )

    @property
    def is_video(self) -> bool:  # type: ignore[override]
        """Whether windows of frames or single frames are looked at."""
        return _FILMS in self.architecture

    @property
    def n_frames(self) -> int:
        """Frames of a window of a network of films."""
        for name in ("frames_per_clip", "num_frames"):
            if not self.parameters.frames and hasattr(self.config, name):
                return int(getattr(self.config, name))
        require(
            self.name,
            self.parameters.frames > 0,
            f"set frames, which {CONFIG} does not say",
            self.parameters.frames,
        )
        return int(self.parameters.frames)

    def window_rule(self) -> WindowRule:
        """Of a network of films."""
        own = self.parameters
        return WindowRule(self.n_frames * own.step_s, own.hop_s, self.n_frames, own.align)

    def window(self) -> dict[str, Any]:
        """For a fingerprint."""
        return asdict(self.window_rule()) if self.is_video else describe_clock(self.parameters)

    def windows(self, info: FilmInfo) -> Windows:
        """Windows, or the ticks of a clock."""
        return (
            Windows.of_rule(self.window_rule(), info.duration_s)
            if self.is_video
            else clock_windows(self.parameters, info)
        )

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, n_frames, 3, height, width), or (n, 3, height, width)"""
        whole = stacked_clips(clips)
        return whole if self.is_video else whole[:, 0]

    def network_class(self, transformers: Any) -> Any:
        """The library's class."""
        return getattr(transformers, self.architecture)

    def default_configuration(self, transformers: Any) -> Any:
        """ViT-B/16 with the classes of ImageNet."""
        return transformers.ViTConfig(num_labels=1000)

    def n_blocks(self) -> int:
        """The hidden states but for the first."""
        return len(self._shapes) - 2

    def shape(self, layer: str) -> tuple[int, ...]:
        """As a pass without numbers shows it."""
        return self._shapes[layer]

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Node -> shape for one window."""
        import torch

        if self.is_video:
            check_frames(self.name, self.n_frames, self.config)
        frames = (self.n_frames,) if self.is_video else ()
        try:
            with torch.device("meta"), torch.inference_mode():
                network = build(self.network_class(transformers_library()), self.config)
                batch = torch.empty(1, *frames, 3, *self.recipe.output_size)
                given = network(**{network.main_input_name: batch}, output_hidden_states=True)
                nodes = ["logits", *(f"hidden.{index}" for index in range(len(given.hidden_states)))]
                found = self.reader(network, nodes)(batch)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{self.folder and self.folder.path}: {self.architecture} does not take {frames or 'one'} frames of "
                f"{self.recipe.output_size} pixels ({reason})."
            ) from error
        return {node: tuple(values.shape[1:]) for node, values in found.items()}

    def unprojected_names(self) -> tuple[str, ...]:
        """The classes by their names in config.json, numbered where they are not unique; or channels or units."""
        if self.parameters.layer != "logits":
            return super().unprojected_names()
        (n_classes,) = self.shape("logits")
        names = [str(self.config.id2label.get(index, f"class {index:04d}")) for index in range(n_classes)]
        count = Counter(names)
        return tuple(name if count[name] == 1 else f"{name} ({index})" for index, name in enumerate(names))
