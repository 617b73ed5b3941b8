"""How networks of tokens see films: windows of frames, or single ones; and how their blocks are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cinebold.features.checkpoints.extractor import TokenExtractor, TokenParameters, hidden_indices
from cinebold.features.checkpoints.library import BlockOutputs
from cinebold.features.framewise import check_clock, clock_windows, describe_clock
from cinebold.features.network import Windows
from cinebold.features.parameters import require
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class ClipTokenParameters(TokenParameters):
    """What is read from a network of films, and when."""

    hop_s: float = 0.5  #: between the reference times of two windows
    step_s: float = 2 / 15  #: between two frames of a window
    align: str = "centre"  #: where the reference time lies in its window: "centre", "end" or "start"

    def check(self, extractor: str, outputs: Sequence[str]) -> None:
        """Raise SettingError unless this makes sense for some checkpoint."""
        super().check(extractor, outputs)
        require(extractor, self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        require(extractor, self.step_s > 0, "step_s must be above 0", self.step_s)
        choices = ("centre", "end", "start")
        require(extractor, self.align in choices, f"align must be one of {', '.join(choices)}", self.align)


@dataclass(frozen=True, kw_only=True)
class FrameTokenParameters(TokenParameters):
    """What is read from a network of pictures, and when."""

    hop_s: float = 0.5  #: width of the bins over which frames are averaged
    rate_hz: float = 4.0  #: frames a second that are looked at
    tokens: str = (
        "patches"  #: of hidden states and "last": "patches", without the class token, or "cls", it alone
    )

    def check(self, extractor: str, outputs: Sequence[str]) -> None:
        """Raise SettingError unless this makes sense for some checkpoint."""
        super().check(extractor, outputs)
        check_clock(extractor, self)
        choices = ("patches", "cls")
        require(extractor, self.tokens in choices, f"tokens must be one of {', '.join(choices)}", self.tokens)


def encoder_reader(
    network: "torch.nn.Module",
    nodes: Sequence[str],
    *,
    blocks: str,
    outputs: Mapping[str, str],
    n_extra: Callable[[Any], int] = lambda config: 0,
    **options: Any,
) -> Any:
    """A function of a batch that gives the activations of nodes; blocks after the deepest are not computed.

    Parameters
    ----------
    nodes : "hidden.K" or a name of `outputs`; with " cls" behind it the class token, otherwise patches, channels first
    blocks : where the network has its blocks
    outputs : names of nodes and of what the network gives
    n_extra : tokens before those of the patches
    """
    if not hasattr(network, "block_outputs"):
        network.block_outputs = BlockOutputs(network.get_submodule(blocks))
    states = hidden_indices(nodes)
    skipped = n_extra(network.config)

    def laid_out(node: str, values: "torch.Tensor") -> "torch.Tensor":
        if values.ndim == 2:
            return values
        return values[:, 0] if node.endswith(" cls") else values[:, skipped:].transpose(1, 2).contiguous()

    def read(batch: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        hidden, given = network.block_outputs.of(
            lambda: network(batch, **options), states.values(), stop=len(states) == len(nodes)
        )
        return {
            node: laid_out(
                node, hidden[states[node]] if node in states else given[outputs[node.split(" ")[0]]]
            )
            for node in nodes
        }

    return read


def stacked_clips(clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
    """(n, n_frames, 3, height, width)"""
    import torch

    return torch.stack([torch.stack(list(clip)) for clip in clips])


class ClipTokens(TokenExtractor):
    """A network of films: windows of `n_frames` frames, `step_s` apart."""

    is_video = True
    batch: Mapping[str, int] = {"cpu": 4, "cuda": 8}

    @property
    def n_frames(self) -> int:
        """Frames of a window."""
        raise NotImplementedError

    def window_rule(self) -> WindowRule:
        """See `WindowRule`."""
        own = self.parameters
        return WindowRule(self.n_frames * own.step_s, own.hop_s, self.n_frames, own.align)

    def window(self) -> dict[str, Any]:
        """For a fingerprint."""
        return asdict(self.window_rule())

    def windows(self, info: FilmInfo) -> Windows:
        """A window every `hop_s`."""
        return Windows.of_rule(self.window_rule(), info.duration_s)

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, n_frames, 3, height, width)"""
        return stacked_clips(clips)

    def shape(self, layer: str) -> tuple[int, ...]:
        """(n_channels, n_tokens)"""
        height, width = self.recipe.output_size
        patch = int(self.config.patch_size)
        n_times = self.n_frames // int(self.config.tubelet_size)
        return int(self.config.hidden_size), n_times * (height // patch) * (width // patch)


class FrameTokens(TokenExtractor):
    """A network of pictures: the frames on display at the ticks of a clock, averaged over bins of `hop_s`."""

    batch: Mapping[str, int] = {"cpu": 16, "cuda": 64}
    n_together = 4

    def window(self) -> dict[str, Any]:
        """For a fingerprint."""
        return describe_clock(self.parameters)

    def windows(self, info: FilmInfo) -> Windows:
        """A frame at the middle of every tick."""
        return clock_windows(self.parameters, info)

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """(n, 3, height, width)"""
        import torch

        return torch.stack([frame for (frame,) in clips])

    def node(self, layer: str) -> str:
        """Tokens of the patches, or the class token."""
        return f"{layer} cls" if self.parameters.tokens == "cls" and layer != "embedding" else layer

    def shape(self, layer: str) -> tuple[int, ...]:
        """(n_channels, n_patches), or the numbers of the class token or the embedding."""
        if layer == "embedding":
            return (int(self.config.projection_dim),)
        if self.parameters.tokens == "cls":
            return (int(self.config.hidden_size),)
        height, width = self.recipe.output_size
        patch = int(self.config.patch_size)
        return int(self.config.hidden_size), (height // patch) * (width // patch)
