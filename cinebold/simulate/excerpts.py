"""A different real film for every name that events use: whole films first, then excerpts of them."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from cinebold.errors import InputError
from cinebold.simulate.films import write_film
from cinebold.simulate.stimuli import copy_film, list_films

if TYPE_CHECKING:
    from cinebold.video.decoding import FilmInfo

EXCERPT_FPS = 15
EXCERPT_ROWS = 96
LONGEST_SOURCE_S = 120.0


def provide_films(
    stimuli_dir: Path, shown_s: Mapping[str, float], films_dir: Path, *, progress: bool = False
) -> None:
    """Write a film for every key of `shown_s` (path under `stimuli_dir` -> seconds shown), no two the same.

    Names in order get, first, a copy of each film that lasts long enough, as it is; then excerpts, evenly
    spread over all films, every other one mirrored, at 96 rows and 15 frames a second. Had two names the same
    content, an analysis would rightly refuse to train on one and test on the other.
    """
    from tqdm import tqdm

    from cinebold.video.decoding import probe_film

    names = sorted(shown_s)
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"Expected stim_file to be a path under stimuli/, and it is {name!r}.")
    longest_s = max(shown_s.values(), default=0.0)
    infos = [info for info in map(probe_film, list_films(films_dir)) if info.duration_s >= longest_s]
    if not infos:
        raise InputError(f"Expected a film of {longest_s:g} s or longer in {films_dir}, and there is none.")
    copied, cut = names[: len(infos)], names[len(infos) :]
    for name, info in zip(copied, infos, strict=False):
        copy_film(Path(info.path), stimuli_dir / name)
    if not cut:
        return
    usable_s = np.array([min(info.duration_s, LONGEST_SOURCE_S) - longest_s for info in infos])
    starts_s = np.linspace(0, usable_s.sum(), len(cut), endpoint=False)  # on all films end to end
    film_of = np.searchsorted(np.cumsum(usable_s), starts_s, side="right").clip(max=len(infos) - 1)
    before_s = np.concatenate([[0], np.cumsum(usable_s)[:-1]])
    bar = tqdm(total=len(cut), desc="excerpts", disable=not progress)
    for f in np.unique(film_of):
        times_s, frames = _small_frames(infos[f])
        for i in np.flatnonzero(film_of == f):
            n_frames = max(1, round(shown_s[cut[i]] * EXCERPT_FPS))
            wanted_s = starts_s[i] - before_s[f] + np.arange(n_frames) / EXCERPT_FPS
            shown = frames[(np.searchsorted(times_s, wanted_s, side="right") - 1).clip(min=0)]
            shown = shown[:, :, ::-1] if i % 2 else shown
            write_film(stimuli_dir / cut[i], shown, EXCERPT_FPS, shown.shape[1:3])
            bar.update()
    bar.close()


def _small_frames(info: "FilmInfo") -> tuple[np.ndarray, np.ndarray]:
    """Times (n_frames,) and frames (n_frames, rows, columns, 3) uint8 of the start of a film, scaled down."""
    import av

    from cinebold.video.decoding import iterate_frames

    columns = max(2, 2 * round(EXCERPT_ROWS * info.width / info.height / 2))
    times_s, frames = [], []
    for time_s, frame in iterate_frames(info):
        if time_s > LONGEST_SOURCE_S:
            break
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        frames.append(image.reformat(columns, EXCERPT_ROWS).to_ndarray())
        times_s.append(time_s)
    return np.array(times_s), np.stack(frames)
