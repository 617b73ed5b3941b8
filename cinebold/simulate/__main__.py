"""`cinebold-simulate OUT_DIR`: write a dataset with a known answer."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 2 (usage) or 16 (an input that cannot be used)."""
    options = _parser().parse_args(arguments)

    from cinebold.errors import InputError, SettingError

    try:
        out_dir = _simulate_like(options) if options.like else _simulate(options)
    except SettingError as error:
        return _fail(error, 2)
    except InputError as error:
        return _fail(error, 16)
    sys.stdout.write(_summary(out_dir))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cinebold-simulate",
        description="Write a film dataset with a known answer: raw BIDS, fMRIPrep derivatives, films, and the truth.",
        epilog="Equal options give equal bytes in every file.",
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="a new or empty directory")
    parser.add_argument("--participants", nargs="+", default=None, metavar="N|LABEL",
                        help="how many (default 3); with --like: the labels to take (default all)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=None, metavar="N",
                        help="of each participant (default 3); with --like: at most so many a task")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of every random number (default 0)")
    parser.add_argument("--snr", type=float, default=1.0, help="multiplies the signal (default 1)")
    parser.add_argument("--films", type=Path, metavar="DIR", help="real films instead of procedural ones")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    invented = parser.add_argument_group("an invented dataset")
    invented.add_argument(
        "--tr", type=float, default=1.5, metavar="S", help="seconds from volume to volume (default 1.5)"
    )
    invented.add_argument(
        "--resolution", type=float, default=4.0, metavar="MM", help="voxel size (default 4)"
    )
    invented.add_argument("--film-seconds", type=float, default=280.0, metavar="S",
                          help="own films of a run, together (default 280)")  # fmt: skip
    invented.add_argument("--shared-seconds", type=float, default=24.0, metavar="S",
                          help="the clip that ends every run; 0: none (default 24)")  # fmt: skip
    invented.add_argument("--surfaces", nargs="+", default=[], metavar="SPACE",
                          help="also write the series on fsaverage5 (or 3, 4: GIFTI), or as fsLR (CIFTI)")  # fmt: skip
    real = parser.add_argument_group(
        "BOLD planted in a real layout (events, sidecars, confounds); needs --films"
    )
    real.add_argument("--like", type=Path, metavar="RAW_DIR", help="the raw BIDS dataset to take events from")
    real.add_argument(
        "--fmriprep", type=Path, metavar="DIR", help="its fMRIPrep derivatives, for sidecars and confounds"
    )
    real.add_argument("--sessions", nargs="+", metavar="LABEL", help="sessions to take (default all)")
    real.add_argument("--tasks", nargs="+", metavar="LABEL", help="tasks to take (default all)")
    return parser


def _simulate(options: argparse.Namespace) -> Path:
    from cinebold.errors import SettingError
    from cinebold.simulate.dataset import simulate_dataset
    from cinebold.simulate.settings import SimulationSettings

    count = options.participants or ["3"]
    if len(count) != 1 or not count[0].isdigit():
        raise SettingError(f"--participants must be one whole number, and it is {' '.join(count)!r}.")
    settings = SimulationSettings(
        n_participants=int(count[0]),
        n_runs=3 if options.runs is None else options.runs,
        tr_s=options.tr,
        resolution_mm=options.resolution,
        seed=options.seed,
        snr=options.snr,
        film_seconds=options.film_seconds,
        shared_seconds=options.shared_seconds,
        films_dir=options.films,
        surfaces=tuple(options.surfaces),
    )
    return simulate_dataset(options.out_dir, settings, progress=not options.quiet)


def _simulate_like(options: argparse.Namespace) -> Path:
    from cinebold.errors import SettingError
    from cinebold.simulate.on_layout import simulate_on_layout
    from cinebold.simulate.settings import SimulationSettings

    if options.fmriprep is None or options.films is None:
        raise SettingError(
            "--like needs --fmriprep DIR (sidecars and confounds) and --films DIR (real films)."
        )
    return simulate_on_layout(
        options.out_dir,
        options.like,
        options.fmriprep,
        options.films,
        participants=options.participants,
        sessions=options.sessions,
        tasks=options.tasks,
        runs_per_task=options.runs,
        settings=SimulationSettings(seed=options.seed, snr=options.snr),
        progress=not options.quiet,
    )


def _summary(out_dir: Path) -> str:
    """What was written, in a few lines."""
    from cinebold.simulate.truth import FOLDER, planted_mask, read_truth

    truth = read_truth(out_dir)
    runs = sorted((out_dir / "derivatives" / "fmriprep").glob("sub-*/**/*_desc-preproc_bold.nii.gz"))
    participants = {run.name.split("_")[0] for run in runs}
    films = [path for path in (out_dir / "stimuli").rglob("*") if path.is_file()]
    regions = ", ".join(
        f"{name} ({facts['n_voxels']} voxels: {' and '.join(facts['feature_spaces'])})"
        for name, facts in truth["regions"].items()
    )
    lines = [
        f"A dataset with a known answer is in {out_dir}",
        f"  {len(participants)} participants, {len(runs)} runs, {len(films)} films",
        f"  {int(planted_mask(out_dir).sum())} voxels respond: {regions}",
        f"  fMRIPrep derivatives: {out_dir / 'derivatives' / 'fmriprep'}",
        f"  the truth:            {out_dir / FOLDER}",
    ]
    return "\n".join(lines) + "\n"


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write(f"cinebold-simulate: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
