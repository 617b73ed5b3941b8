"""SlowFast R50 on a film: what decoding, preparation and windows cost beside the network itself."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import Row, Setup, row, timed
from benchmarks.rows_features.films import benchmark_film, in_turns, n_processors


@row("slowfast")
def slowfast(setup: Setup) -> Row:
    """Logits of windows of 2.13 s every second, with random weights, from the film's file.

    The peer is the bare network with the same weights, on the same windows, prepared and in memory; as many threads.
    """
    import torch

    from cinebold.features.extraction import extract_features
    from cinebold.features.registry import create_extractor
    from cinebold.features.slowfast import SLOW

    extractor: Any = create_extractor(
        "slowfast_r50", {"hop_s": 1.0}, device=setup.device, random_weights=True
    )
    n_threads = n_processors()
    torch.set_num_threads(n_threads)

    def ours(film: Path) -> np.ndarray:
        return extract_features(film, {"slowfast": extractor}, n_threads=n_threads)["slowfast"].values

    with benchmark_film(setup.quick) as film:
        batches = prepared_windows(extractor, lambda: ours(film))
        network = library_network(setup.device)
        slow = torch.as_tensor(SLOW, device=setup.device)
        # On a CPU a window at a time with all threads in it, as everyone calls it; on a GPU batches as large as ours.
        parts = [part for batch in batches for part in (batch.split(1) if not setup.on_gpu else [batch])]

        def peer() -> np.ndarray:
            with torch.inference_mode():
                return np.concatenate([network([part[:, :, slow], part]).cpu().numpy() for part in parts])

        turns = in_turns({"ours": lambda: ours(film), "peer": peer}, 1 if setup.quick else 2)
        _, peak_mb, values = timed(lambda: ours(film))
    return Row(
        name="slowfast",
        peer="pytorchvideo's network on the same windows in memory: neither decoding nor preparation",
        goal=0.91,
        agreement=float(np.abs(values - turns.results["peer"]).max() / values.std()),
        agreement_of="largest difference of logits by their spread",
        seconds_ours=turns.seconds["ours"],
        seconds_peer=turns.seconds["peer"],
        peak_mb=peak_mb,
        device=setup.device,
        sizes={
            "film": film.name,
            "n_windows": len(values),
            "hop_s": extractor.parameters.hop_s,
            "n_threads": n_threads,
            "seconds_a_window": turns.seconds["ours"] / len(values),
            "cpu_seconds_ours": turns.cpu_seconds["ours"],
            "cpu_seconds_peer": turns.cpu_seconds["peer"],
        },
    )


def prepared_windows(extractor: Any, work: Any) -> list[Any]:
    """The batches, (n, 3, 32, 256, 256), that an extractor sends through its network during `work`."""
    kind, batches = type(extractor), []
    stacked = kind.stacked

    def watched(self: Any, clips: Any) -> Any:
        batches.append(stacked(self, clips))
        return batches[-1]

    kind.stacked = watched
    try:
        work()
    finally:
        kind.stacked = stacked
    return batches


def library_network(device: str) -> Any:
    """SlowFast R50 with the random weights of the extractor."""
    import torch
    from pytorchvideo.models.hub import slowfast_r50

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return slowfast_r50(pretrained=False).eval().to(device)
