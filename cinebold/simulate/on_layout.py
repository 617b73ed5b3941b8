"""BOLD with a known answer in a real layout: real events, sidecars and confounds, real films, simulated series."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.files import atomic_path, read_json, write_json, write_text
from cinebold.simulate.bold_file import write_placeholder_bold
from cinebold.simulate.brain import Brain, make_brain, template_grid
from cinebold.simulate.confounds import read_table, simple_strategy
from cinebold.simulate.dataset import empty_directory
from cinebold.simulate.excerpts import provide_films
from cinebold.simulate.fmriprep_dataset import (
    SPACE,
    write_anatomy,
    write_fmriprep_description,
    write_functional,
)
from cinebold.simulate.layout import LayoutRun, find_runs
from cinebold.simulate.noise import MOTION_AXES, draw_noise, slow_cosines
from cinebold.simulate.participant import Participant, bold_series, draw_participant
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.signals import draw_directions, run_signals, scale_directions
from cinebold.simulate.stimuli import extract_all
from cinebold.simulate.truth import BestR, write_participant_truth, write_truth

logger = logging.getLogger(__name__)

# The BOLD Moments series in template space: 62 x 77 x 61 voxels. Their size is not in the text files; the raw
# sidecars say slices of 2.5 mm, 2.75 mm apart, and 2.5 mm in plane fits the field of view.
GRID_SHAPE = (62, 77, 61)
VOXEL_MM = (2.5, 2.5, 2.75)
BRAIN_CENTRE_MM = (0.0, -17.0, 7.0)


def simulate_on_layout(
    out_dir: str | Path,
    raw_dir: str | Path,
    fmriprep_dir: str | Path,
    films_dir: str | Path,
    *,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    runs_per_task: int | None = None,
    settings: SimulationSettings | None = None,
    grid_shape: tuple[int, int, int] = GRID_SHAPE,
    voxel_mm: tuple[float, float, float] = VOXEL_MM,
    progress: bool = False,
) -> Path:
    """Write a dataset into an empty directory: the text files of a real one, with films and simulated BOLD beside them.

    Parameters
    ----------
    raw_dir : a BIDS dataset whose events name films in `stim_file`; its images may be absent
    fmriprep_dir : its fMRIPrep derivatives, of which only sidecars and confounds are read
    films_dir : real films; each `stim_file` gets one of them or an excerpt (`cinebold.simulate.excerpts`)
    participants, sessions, tasks : labels to take; None: all
    runs_per_task : the first so many runs of each participant, session and task; None: all
    settings : seed, signal and noise; what concerns films and grids is not used
    grid_shape, voxel_mm : the grid of the simulated series, centred on the brain

    The real confounds are mixed into the voxels: slow cosines, six motion parameters, mean CSF and white
    matter. One run is in memory at a time: about 1 GB on the grid of BOLD Moments. Runs without a confounds
    table are left out.

    Raises
    ------
    SettingError
        When `out_dir` is not empty.
    InputError
        When no run fits the filters, or a file is not what it must be.
    """
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    settings = settings or SimulationSettings()
    raw_dir, fmriprep_dir = Path(raw_dir), Path(fmriprep_dir)
    runs = find_runs(raw_dir, fmriprep_dir, participants, sessions, tasks, runs_per_task)
    out_dir = empty_directory(out_dir)
    with threadpool_limits(1):
        shown_s: dict[str, float] = {}
        for run in runs:
            for showing in run.showings:
                shown_s[showing.film] = max(showing.duration_s, shown_s.get(showing.film, 0.0))
        provide_films(out_dir / "stimuli", shown_s, Path(films_dir), progress=progress)
        features, fingerprints = extract_all(out_dir / "stimuli", sorted(shown_s), progress=progress)
        rng = np.random.default_rng([settings.seed, 2])
        directions = draw_directions(features, settings.n_directions, settings.n_components, rng)
        signals = [run_signals(run.showings, features, directions, run.volume_times_s) for run in runs]
        directions, signals = scale_directions(directions, signals)

        brain = make_brain(grid_shape, centred_affine(grid_shape, voxel_mm))
        anatomy = make_brain(*template_grid(settings.anat_resolution_mm))
        labels = sorted({run.participant for run in runs})
        _copy_dataset_files(raw_dir, out_dir, labels, sorted({run.task for run in runs}))
        write_fmriprep_description(out_dir / "derivatives" / "fmriprep")
        presentations = {run.stem: [vars(showing) for showing in run.showings] for run in runs}
        write_truth(out_dir, settings, brain, directions, fingerprints, presentations)
        bar = tqdm(total=len(runs), desc="runs", disable=not progress)
        for i, label in enumerate(labels):
            mine = [r for r, run in enumerate(runs) if run.participant == label]
            rng = np.random.default_rng([settings.seed, 3, i])
            participant = draw_participant(brain, directions, [signals[r] for r in mine], settings, rng)
            write_anatomy(out_dir / "derivatives" / "fmriprep", label, anatomy)
            best_r = BestR()
            for r in mine:
                rng = np.random.default_rng([settings.seed, 4, r])
                _copy_run_files(runs[r], raw_dir, fmriprep_dir, out_dir)
                _simulate_series(runs[r], out_dir, participant, signals[r], brain, settings, best_r, rng)
                bar.update()
            write_participant_truth(out_dir, label, brain, participant.mix, best_r)
        bar.close()
    logger.info("simulated %d runs of %d participants in %s", len(runs), len(labels), out_dir)
    return out_dir


def centred_affine(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """The affine (4, 4) of a grid that is centred on the MNI brain."""
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = np.array(BRAIN_CENTRE_MM) - (np.array(shape) - 1) / 2 * np.array(voxel_mm)
    return affine


def _simulate_series(
    run: LayoutRun,
    out_dir: Path,
    participant: Participant,
    signal: np.ndarray,
    brain: Brain,
    settings: SimulationSettings,
    best_r: BestR,
    rng: np.random.Generator,
) -> None:
    """Simulate and write the series of one run with its real confounds, and take it into `best_r`."""
    table = read_table(run.confounds)
    cosines = [values for name, values in table.items() if name.startswith("cosine")]
    noise = draw_noise(
        int(brain.mask.sum()),
        rng,
        cosines=np.stack(cosines, axis=1) if cosines else slow_cosines(run.n_volumes, run.tr_s),
        nuisance=np.stack([table[name] for name in (*MOTION_AXES, "csf", "white_matter")], axis=1),
        ar1=settings.ar1,
        drift_sd=settings.drift_sd,
        motion_sd=settings.motion_sd,
    )
    nuisance, keep = simple_strategy(table)
    series = bold_series(participant, signal, noise, settings, ~keep)
    func_dir = out_dir / "derivatives" / "fmriprep" / run.folder
    write_functional(func_dir, run.stem, series, brain, run.tr_s)
    planted = participant.planted
    planted_signal = signal @ participant.mix[:, planted]
    best_r.add(planted_signal, noise.random[:, planted], series[:, planted], nuisance, keep)


def _copy_run_files(run: LayoutRun, raw_dir: Path, fmriprep_dir: Path, out_dir: Path) -> None:
    """Copy the text files of one run; only `SkullStripped` is set to what the simulated series is."""
    sidecar = raw_dir / run.folder / f"{run.stem}_bold.json"
    facts = read_json(sidecar) if sidecar.is_file() else {"TaskName": run.task, "RepetitionTime": run.tr_s}
    _copy(run.events, out_dir / run.folder / run.events.name)
    write_json(out_dir / run.folder / sidecar.name, facts)
    n_slices = len(facts.get("SliceTiming", [])) or 4
    write_placeholder_bold(
        out_dir / run.folder / f"{run.stem}_bold.nii.gz", run.n_volumes, run.tr_s, n_slices
    )
    target = out_dir / "derivatives" / "fmriprep" / run.folder
    for suffix in (".tsv", ".json"):
        source = run.confounds.with_suffix(suffix)
        if source.is_file():
            _copy(source, target / source.name)
    name = f"{run.stem}_space-{SPACE}_desc-preproc_bold.json"
    write_json(target / name, {**run.sidecar, "SkullStripped": True})


def _copy_dataset_files(
    raw_dir: Path, out_dir: Path, participants: Sequence[str], tasks: Sequence[str]
) -> None:
    """Copy what belongs to the dataset as a whole, so that nobody can take the result for the real data."""
    described = raw_dir / "dataset_description.json"
    real = read_json(described) if described.is_file() else {}
    description = {
        "Name": f"Simulated BOLD in the layout of: {real.get('Name', raw_dir.name)}",
        "BIDSVersion": real.get("BIDSVersion", "1.10.0"),
        "DatasetType": "raw",
        "License": real.get("License", "CC0"),
        "Authors": real.get("Authors", ["cinebold-simulate"]),
    }
    if "DatasetDOI" in real:
        description["SourceDatasets"] = [{"DOI": real["DatasetDOI"]}]
    write_json(out_dir / "dataset_description.json", description)
    readme = (
        "# Simulated BOLD in a real layout\n\n"
        f"Events, sidecars and confounds are those of: {real.get('Name', raw_dir.name)}\n"
        "The films are other ones under the names that the events use, and every BOLD series is simulated by\n"
        "`cinebold-simulate`; `derivatives/simulation-truth/` says what was planted. Raw images are place-holders.\n"
    )
    write_text(out_dir / "README.md", readme)
    table = raw_dir / "participants.tsv"
    if table.is_file():
        header, *rows = table.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if row.split("\t")[0].removeprefix("sub-") in participants]
        write_text(out_dir / "participants.tsv", "\n".join([header, *kept]) + "\n")
    for name in (
        "participants.json",
        *(f"task-{task}_{kind}.json" for task in tasks for kind in ("events", "bold")),
    ):
        if (raw_dir / name).is_file():
            _copy(raw_dir / name, out_dir / name)


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
