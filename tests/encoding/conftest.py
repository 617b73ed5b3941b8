"""Runs with planted responses."""

from collections.abc import Callable

import numpy as np
import pytest

from cinebold.design.delays import delayed
from cinebold.design.run_design import RunDesign


@pytest.fixture(scope="session")
def simulate_runs() -> Callable[..., tuple[list[RunDesign], list[np.ndarray]]]:
    """A function that makes runs: half of the voxels follow the film, the others are noise."""

    def simulate(
        lengths=(60, 70, 80),
        n_features=6,
        n_targets=40,
        signal=1.0,
        autocorrelation=0.0,
        clip=0,
        delays=(1, 2),
        dtype=np.float64,
        spaces=("a",),
        seed=0,
    ):
        rng = np.random.default_rng(seed)
        n_planted = n_targets // 2
        weights = {
            space: rng.normal(size=(n_features * len(delays), n_targets)) * (np.arange(n_targets) < n_planted)
            for space in spaces
        }
        shared = {space: rng.normal(size=(clip, n_features)) for space in spaces}
        designs, responses = [], []
        for run, n in enumerate(lengths):
            features = {}
            film = np.zeros(n, dtype=np.int64)
            for space in spaces:
                features[space] = rng.normal(size=(n, n_features))
                if clip:
                    features[space][n - clip :] = shared[space]
                    film[n - clip :] = 1
            drive = sum(delayed(features[space], delays) @ weights[space] for space in spaces)
            drive /= np.maximum(drive.std(axis=0), 1e-12)
            noise = rng.normal(size=(n + 50, n_targets))
            for t in range(1, n + 50):
                noise[t] += autocorrelation * noise[t - 1]
            noise = noise[50:] * np.sqrt(1 - autocorrelation**2)
            response = signal * drive * (np.arange(n_targets) < n_planted) + noise
            responses.append(((response - response.mean(axis=0)) / response.std(axis=0)).astype(dtype))
            designs.append(
                RunDesign(
                    label=f"run-{run}",
                    tr_s=1.0,
                    features=features,
                    has_film=np.ones(n, dtype=bool),
                    film_of_volume=film,
                    film_ids=(f"film-{run}", "clip") if clip else (f"film-{run}",),
                    keep=np.ones(n, dtype=bool),
                    names={space: tuple(f"{space}{i}" for i in range(n_features)) for space in spaces},
                )
            )
        return designs, responses

    return simulate


@pytest.fixture(scope="session")
def a_design() -> Callable[..., RunDesign]:
    """A function that makes a run from a list of film names, one a volume, None for no film."""

    def make(label, films, keep=None):
        names = tuple(dict.fromkeys(film for film in films if film is not None))
        film_of_volume = np.array([-1 if film is None else names.index(film) for film in films])
        n = len(films)
        return RunDesign(
            label=label,
            tr_s=1.0,
            features={"a": np.random.default_rng(0).normal(size=(n, 2))},
            has_film=film_of_volume >= 0,
            film_of_volume=film_of_volume,
            film_ids=names,
            keep=np.ones(n, dtype=bool) if keep is None else np.asarray(keep),
            names={"a": ("x", "y")},
        )

    return make


@pytest.fixture(params=["cpu", "cuda"])
def torch_device(request) -> str:
    """Each device that torch finds here."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device on this machine")
    return request.param


@pytest.fixture(scope="session")
def hard_runs() -> Callable[..., tuple[list[RunDesign], list[np.ndarray]]]:
    """A function that makes runs with all that makes statistics hard.

    Two feature spaces far from zero, one of them with a constant feature; unequal runs that share a clip; rest
    without a film; censored volumes, some of them not finite; nuisance; raw responses of mean 10,000; a constant
    voxel and one that is not finite.
    """

    def simulate(lengths=(70, 85, 60, 90), n_features=4, n_targets=40, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(2 * 2 * n_features, n_targets)) * (np.arange(n_targets) % 2)
        shared = rng.normal(size=(12, 2 * n_features))
        designs, responses = [], []
        for run, n in enumerate(lengths):
            film = np.full(n, -1)
            film[2 : n - 20] = 0
            film[n - 17 : n - 5] = 1
            values = rng.normal(size=(n, 2 * n_features))
            values[film == 1] = shared
            values[:, 0] = 3.0
            values[:, n_features:] = 1e3 + 10 * values[:, n_features:]
            values[film == -1] = 0
            keep = np.ones(n, dtype=bool)
            keep[[0, 20, 21, n - 1]] = False
            nuisance = np.zeros((n, 4))
            nuisance[keep] = np.linalg.qr(
                np.column_stack([np.ones(keep.sum()), rng.normal(size=(keep.sum(), 3))])
            )[0]
            standard = (values - values[film >= 0].mean(axis=0)) * (film >= 0)[:, np.newaxis]
            standard /= np.maximum(standard.std(axis=0), 1e-12)
            y = delayed(standard, (1, 2)) @ weights + 2 * rng.normal(size=(n, n_targets))
            y -= nuisance @ (nuisance.T @ y)
            y = 1e4 + 100 * y
            y[:, 3] = 7.0 if run == 1 else y[:, 3]
            y[30, 5] = np.nan if run == 2 else y[30, 5]
            y[20] = np.inf
            responses.append(y.astype(dtype))
            designs.append(
                RunDesign(
                    label=f"run-{run}",
                    tr_s=1.0,
                    features={"a": values[:, :n_features], "b": values[:, n_features:]},
                    has_film=film >= 0,
                    film_of_volume=film,
                    film_ids=(f"film-{run}", "clip"),
                    keep=keep,
                    names={space: tuple(f"{space}{i}" for i in range(n_features)) for space in "ab"},
                    nuisance=nuisance,
                )
            )
        return designs, responses

    return simulate
