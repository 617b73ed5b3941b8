"""A whole dataset with a known answer: raw BIDS, fMRIPrep derivatives, films and the truth."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.errors import SettingError
from cinebold.files import write_json
from cinebold.simulate.brain import Brain, make_brain, template_grid
from cinebold.simulate.confounds import make_confounds, simple_strategy, write_confounds
from cinebold.simulate.fmriprep_dataset import (
    SPACE,
    bold_sidecar,
    write_anatomy,
    write_fmriprep_description,
    write_functional,
)
from cinebold.simulate.noise import draw_noise, head_motion, slow_cosines
from cinebold.simulate.participant import Participant, bold_series, draw_participant
from cinebold.simulate.raw_dataset import write_raw_dataset, write_raw_run
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.signals import draw_directions, run_signals, scale_directions
from cinebold.simulate.stimuli import Programme, extract_all, make_programme
from cinebold.simulate.surfaces import Projection, make_projections, write_surface_series
from cinebold.simulate.truth import BestR, write_participant_truth, write_truth

logger = logging.getLogger(__name__)


def simulate_dataset(
    out_dir: str | Path, settings: SimulationSettings | None = None, *, progress: bool = False
) -> Path:
    """Write a simulated dataset into an empty or new directory; equal settings give equal bytes in every file.

    The raw dataset is `out_dir`, its preprocessed images are in `derivatives/fmriprep`, and what was planted
    in `derivatives/simulation-truth` (`cinebold.simulate.truth` reads it). All participants see the same
    films.

    Raises
    ------
    SettingError
        When `out_dir` is not empty.
    InputError
        When the folder of real films has too few of them, or one cannot be read.
    """
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    settings = settings or SimulationSettings()
    out_dir = empty_directory(out_dir)
    # One thread: sums in another order would be other last digits on another machine.
    with threadpool_limits(1):
        programme = make_programme(out_dir / "stimuli", settings, progress=progress)
        features, fingerprints = extract_all(out_dir / "stimuli", programme.films, progress=progress)
        rng = np.random.default_rng([settings.seed, 2])
        directions = draw_directions(features, settings.n_directions, settings.n_components, rng)
        times_s = (np.arange(programme.n_volumes) + 0.5) * settings.tr_s
        signals = [run_signals(run, features, directions, times_s) for run in programme.runs]
        directions, signals = scale_directions(directions, signals)

        brain = make_brain(*template_grid(settings.resolution_mm))
        anatomy = make_brain(*template_grid(settings.anat_resolution_mm))
        projections = make_projections(settings.surfaces, brain)
        participants = [f"{i + 1:02d}" for i in range(settings.n_participants)]
        _write_shared(out_dir, participants, settings, programme)
        presentations = {
            f"run-{r + 1}": [vars(showing) for showing in run] for r, run in enumerate(programme.runs)
        }
        write_truth(out_dir, settings, brain, directions, fingerprints, presentations)
        bar = tqdm(total=len(participants) * settings.n_runs, desc="runs", disable=not progress)
        for i, label in enumerate(participants):
            rng = np.random.default_rng([settings.seed, 3, i])
            participant = draw_participant(brain, directions, signals, settings, rng)
            write_anatomy(out_dir / "derivatives" / "fmriprep", label, anatomy)
            best_r = BestR()
            for r in range(settings.n_runs):
                rng = np.random.default_rng([settings.seed, 4, i, r])
                _simulate_run(
                    out_dir,
                    label,
                    r,
                    participant,
                    signals[r],
                    brain,
                    programme,
                    settings,
                    best_r,
                    rng,
                    projections,
                )
                bar.update()
            write_participant_truth(out_dir, label, brain, participant.mix, best_r, projections)
        bar.close()
    logger.info(
        "simulated %d participants with %d runs each in %s", len(participants), settings.n_runs, out_dir
    )
    return out_dir


def empty_directory(path: str | Path) -> Path:
    """The directory, made if need be; an error when something is in it."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SettingError(
            f"Expected a new or empty output directory, and {path} is not; give another or empty it."
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"The output directory {path} cannot be made: {error.strerror}.") from error
    return path


def _write_shared(
    out_dir: Path, participants: list[str], settings: SimulationSettings, programme: Programme
) -> None:
    films = "procedural films" if settings.films_dir is None else f"{len(programme.films)} real films"
    write_raw_dataset(out_dir, participants, settings.task, settings.seed, films)
    write_fmriprep_description(out_dir / "derivatives" / "fmriprep")


def _simulate_run(
    out_dir: Path,
    label: str,
    run: int,
    participant: Participant,
    signal: np.ndarray,
    brain: Brain,
    programme: Programme,
    settings: SimulationSettings,
    best_r: BestR,
    rng: np.random.Generator,
    projections: Sequence[Projection] = (),
) -> None:
    """Simulate and write one run of one participant, and take it into `best_r`."""
    stem = f"sub-{label}_task-{settings.task}_run-{run + 1}"
    func_dir = out_dir / f"sub-{label}" / "func"
    write_raw_run(
        func_dir,
        stem,
        programme.runs[run],
        programme.shared_film,
        programme.n_volumes,
        settings.tr_s,
        settings.task,
    )
    cosines = slow_cosines(programme.n_volumes, settings.tr_s)
    motion = head_motion(programme.n_volumes, settings.tr_s, rng)
    noise = draw_noise(
        int(brain.mask.sum()),
        rng,
        cosines=cosines,
        nuisance=motion,
        ar1=settings.ar1,
        drift_sd=settings.drift_sd,
        motion_sd=settings.motion_sd,
    )
    non_steady = np.arange(programme.n_volumes) < settings.n_non_steady
    series = bold_series(participant, signal, noise, settings, non_steady)
    table, metadata = make_confounds(
        series,
        motion,
        cosines,
        # Like fMRIPrep's eroded masks, the tissue means hold no voxel that responds to films.
        white=np.where(brain.labels > 0, 0, brain.white)[brain.mask],
        csf=np.where(brain.labels > 0, 0, brain.csf)[brain.mask],
        n_non_steady=settings.n_non_steady,
    )
    func_dir = out_dir / "derivatives" / "fmriprep" / f"sub-{label}" / "func"
    write_functional(func_dir, stem, series, brain, settings.tr_s)
    sidecar = bold_sidecar(settings.task, settings.tr_s, settings.tr_s / 2)
    write_json(func_dir / f"{stem}_space-{SPACE}_desc-preproc_bold.json", sidecar)
    for projection in projections:
        write_surface_series(
            func_dir, stem, series, projection, settings.tr_s, sidecar | {"SkullStripped": False}
        )
    write_confounds(func_dir / f"{stem}_desc-confounds_timeseries.tsv", table, metadata)
    planted = participant.planted
    nuisance, keep = simple_strategy(table)
    best_r.add(
        signal @ participant.mix[:, planted], noise.random[:, planted], series[:, planted], nuisance, keep
    )
