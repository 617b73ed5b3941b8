"""X3D-XS on a film, from its file to features, against the way of pytorchvideo's page on torch.hub."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import Row, Setup, row, timed
from benchmarks.rows_features.films import benchmark_film, in_turns, n_processors

HOP_S = 0.5
#: Windows whose frames the peer is given as well.
N_SAME = 5


@row("x3d-xs")
def x3d_xs(setup: Setup) -> Row:
    """Logits of windows of 1.6 s every 0.5 s, with random weights; the network is ready on both sides.

    The peer picks four frames evenly among those that `EncodedVideo` gives it for a window; we look at what is on
    display at four of 48 ticks of 30 Hz. These are the same frames only where a film has 30 a second, so the answers
    are compared twice: when the peer's network and transform get our frames (`agreement`), and as they are
    (`sizes.mean_difference_own_frames`, of windows that lie in the film). Both are relative to the spread over windows.
    """
    import torch

    from cinebold.features.extraction import extract_features
    from cinebold.features.registry import create_extractor
    from cinebold.video.decoding import iterate_frames, probe_film
    from cinebold.video.windows import frames_shown_at

    extractor: Any = create_extractor("x3d_xs", {"hop_s": HOP_S}, device=setup.device, random_weights=True)
    recipe, n_threads = extractor.recipe, n_processors()
    torch.set_num_threads(n_threads)

    def ours(film: Path) -> np.ndarray:
        return extract_features(film, {"x3d": extractor}, n_threads=n_threads)["x3d"].values

    with benchmark_film(setup.quick) as film:
        info = probe_film(film)
        extractor.start(info)
        network = library_network(setup.device)
        half_s, duration_s = recipe.n_samples / 30 / 2, info.duration_s
        centres_s = extractor.window_rule().times(duration_s)
        inside = np.flatnonzero((centres_s >= half_s) & (centres_s + half_s <= duration_s))

        def peer() -> np.ndarray:
            from pytorchvideo.data.encoded_video import EncodedVideo

            video = EncodedVideo.from_path(str(film), decode_audio=False)
            logits = []
            for centre_s in np.clip(centres_s, half_s, duration_s - half_s):
                frames = video.get_clip(centre_s - half_s, centre_s + half_s)["video"]
                logits.append(library_logits(network, frames, recipe, setup.device))
            return np.concatenate(logits)

        turns = in_turns({"ours": lambda: ours(film), "peer": peer}, 2 if setup.quick else 4)
        _, peak_mb, values = timed(lambda: ours(film))
        compared = np.arange(len(centres_s))[:: max(1, len(centres_s) // N_SAME)]
        samples_s = extractor.windows(info).samples_s[compared]
        looked_at = frames_shown_at(info.pts_s, samples_s)
        kept = {i: frame for i, (_, frame) in enumerate(iterate_frames(info)) if i in set(looked_at.ravel())}
        same = [
            library_logits(
                network,
                torch.tensor(np.stack([kept[i] for i in window])).permute(3, 0, 1, 2).float(),
                recipe,
                setup.device,
            )
            for window in looked_at
        ]
    spread = float((values - values.mean(axis=0)).std())
    own_frames = np.abs(values[inside] - turns.results["peer"][inside]) / spread
    return Row(
        name="x3d-xs",
        peer="pytorchvideo's EncodedVideo.get_clip for each window, its transforms, the same network",
        goal=3,
        agreement=float(np.abs(values[compared] - np.concatenate(same)).max()) / spread,
        agreement_of="largest difference of logits by their spread, on the same frames",
        seconds_ours=turns.seconds["ours"],
        seconds_peer=turns.seconds["peer"],
        peak_mb=peak_mb,
        device=setup.device,
        sizes={
            "film": film.name,
            "n_windows": len(centres_s),
            "hop_s": HOP_S,
            "n_threads": n_threads,
            "mean_difference_own_frames": float(own_frames.mean()) if len(inside) else None,
            "windows_per_s": len(centres_s) / turns.seconds["ours"],
            "windows_per_s_peer": len(centres_s) / turns.seconds["peer"],
            "cpu_seconds_ours": turns.cpu_seconds["ours"],
            "cpu_seconds_peer": turns.cpu_seconds["peer"],
        },
    )


def library_network(device: str) -> Any:
    """X3D-XS with the random weights of the extractor; no softmax."""
    import torch
    from pytorchvideo.models.hub import x3d_xs as build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(pretrained=False, head_activation=None).eval().to(device)


def library_logits(network: Any, frames: Any, recipe: Any, device: str) -> np.ndarray:
    """Frames, (3, n, h, w) float32 of 0 to 255, to (1, 400): torch.hub's transforms on all four frames at once."""
    import torch

    picked = torch.linspace(0, frames.shape[1] - 1, recipe.n_frames).long()
    clip = torch.index_select(frames, 1, picked) / 255.0
    clip = (clip - 0.45) / 0.225
    height, width = clip.shape[-2:]
    scale = recipe.side / min(height, width)
    size = [
        recipe.side if side == min(height, width) else math.floor(side * scale) for side in (height, width)
    ]
    clip = torch.nn.functional.interpolate(clip, size=size, mode="bilinear", align_corners=False)
    top, left = (round((side - recipe.crop) / 2) for side in size)
    clip = clip[:, :, top : top + recipe.crop, left : left + recipe.crop]
    with torch.inference_mode():
        return network(clip[None].to(device)).cpu().numpy()
