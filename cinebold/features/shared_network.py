"""One network for several extractors: one copy of its weights, and one pass for each batch of windows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import SettingError
from cinebold.features.network import exact_inference
from cinebold.features.network_options import NetworkOptions

if TYPE_CHECKING:
    import torch

#: (network, nodes) -> a function of a batch that gives the activations of the nodes by name.
Reader = Callable[
    ["torch.nn.Module", Sequence[str]], Callable[["torch.Tensor"], Mapping[str, "torch.Tensor"]]
]


def graph_reader(network: "torch.nn.Module", nodes: Sequence[str]) -> Any:
    """By the graph that torchvision traces; for its own networks."""
    from torchvision.models.feature_extraction import create_feature_extractor

    return create_feature_extractor(network, {node: node for node in nodes}, suppress_diff_warning=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Even sums that stand side by side are rounded otherwise where one thread's share of them ends."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


class SharedNetwork:
    """One network and those who read it; what the first of them makes of a frame or a batch serves the others.

    Parameters
    ----------
    transform : of a picture, (3, h, w) uint8, to what the network wants
    n_together : windows that one thread of a CPU takes at once
    reader : how nodes are read
    prepares_on_device : pictures are uploaded as they are, and transformed there
    """

    def __init__(
        self,
        network: "torch.nn.Module",
        transform: Any,
        device: str,
        n_together: int = 1,
        *,
        reader: Reader = graph_reader,
        options: NetworkOptions | None = None,
        prepares_on_device: bool = False,
    ) -> None:
        self._options = options or NetworkOptions()
        self._network = self._laid_out(network)
        self._transform, self._device = transform, device
        self._n_together, self._reader = n_together, reader
        self._prepares_on_device = prepares_on_device
        self._nodes: dict[str, None] = {}
        self._graph: Any = None
        self._frame: tuple[Any, Any] = (None, None)  # the last frame, prepared
        self._batch: tuple[int, list[Any], Any] = (
            0,
            [],
            None,
        )  # the last: windows, their frames, activations

    def want(self, nodes: Mapping[str, Any]) -> None:
        """These nodes will be read; what comes after the deepest is not computed."""
        if set(nodes) - set(self._nodes):
            self._nodes |= dict.fromkeys(nodes)
            self._graph, self._batch = None, (0, [], None)

    def prepared(self, frame: np.ndarray) -> "torch.Tensor":
        """A frame, (h, w, 3) uint8, after the official preprocessing: (3, height, width) float32 on the device."""
        import torch

        if self._frame[0] is not frame:
            place = self._device if self._prepares_on_device else "cpu"
            with one_thread() if place == "cpu" else nullcontext():
                prepared = self._transform(torch.tensor(frame, device=place).permute(2, 0, 1))
            self._frame = (frame, prepared.to(self._device).contiguous())
        return self._frame[1]

    def read(self, clips: Sequence[Sequence["torch.Tensor"]], stacked: Any) -> Mapping[str, "torch.Tensor"]:
        """The activations of all nodes that are wanted, by name, for some windows."""
        frames = [frame for clip in clips for frame in clip]
        n_clips, known, activations = self._batch
        same = (n_clips, len(known)) == (len(clips), len(frames))
        if not same or any(a is not b for a, b in zip(known, frames, strict=True)):
            activations = self._evaluated(stacked(clips))
            self._batch = (len(clips), frames, activations)
        return activations

    def _evaluated(self, batch: "torch.Tensor") -> Mapping[str, "torch.Tensor"]:
        """On a CPU in parts of fixed size, a thread each.

        Threads inside a convolution share its sums out in ways that change the last digits with their number.
        """
        import torch

        graph = self._traced()
        batch = self._laid_out(batch)
        if self._device != "cpu":
            return self._evaluate(graph, batch)
        n_threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                parts = list(
                    pool.map(lambda part: self._evaluate(graph, part), batch.split(self._n_together))
                )
        finally:
            torch.set_num_threads(n_threads)
        if len(parts) == 1:
            return parts[0]
        return {node: torch.cat([part[node] for part in parts]) for node in self._nodes}

    def _evaluate(self, graph: Any, batch: "torch.Tensor") -> Mapping[str, "torch.Tensor"]:
        from contextlib import ExitStack

        import torch

        with ExitStack() as stack:
            # The flags of exact_inference belong to the process: threads of a CPU neither need nor share them.
            stack.enter_context(torch.inference_mode() if self._device == "cpu" else exact_inference())
            if self._options.precision == "bfloat16":
                stack.enter_context(torch.autocast(self._device.split(":")[0], torch.bfloat16))
            if not self._options.compiled:
                return graph(batch)
            try:
                return graph(batch)
            except (torch._dynamo.exc.TorchDynamoException, ImportError) as error:
                raise SettingError(
                    f"torch.compile cannot translate this network here ({str(error).splitlines()[0]}); "
                    "leave compiled out."
                ) from error

    def _traced(self) -> Any:
        if self._graph is None:
            self._graph = self._reader(self._network, tuple(self._nodes))
            if self._options.compiled:
                import torch

                self._graph = torch.compile(self._graph)
        return self._graph

    def _laid_out(self, values: Any) -> Any:
        """A network or a batch of pictures or clips in the memory format that is asked for."""
        if not self._options.channels_last:
            return values
        import torch

        if isinstance(values, torch.nn.Module):
            for parameter in values.parameters():
                parameter.data = self._laid_out(parameter.data)
            return values
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return values.to(memory_format=formats.get(values.ndim, torch.preserve_format))
