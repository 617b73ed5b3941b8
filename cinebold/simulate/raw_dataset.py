"""The raw BIDS side of a simulated dataset: description, participants, events, films, place-holders for raw images."""

from collections.abc import Sequence
from pathlib import Path

from cinebold.files import write_json, write_text
from cinebold.simulate.bold_file import write_placeholder_bold
from cinebold.simulate.signals import Showing

BIDS_VERSION = "1.10.0"

README = """# A simulated film dataset

Nobody was scanned. `cinebold-simulate` made this dataset so that an analysis can be compared with a known
answer.

- `stimuli/` holds the films, and `sub-*/func/*_events.tsv` says when each was shown.
- `sub-*/func/*_bold.nii.gz` are tiny place-holders: only the preprocessed images are simulated.
- `derivatives/fmriprep/` holds the simulated BOLD series, laid out and named as fMRIPrep 23.2 does it.
- `derivatives/simulation-truth/` says which voxels respond to which features with which weights.
"""

EVENTS_SIDECAR = {
    "onset": {"Description": "When the film starts, from the first volume.", "Units": "s"},
    "duration": {"Description": "How long the film is shown.", "Units": "s"},
    "stim_file": {
        "LongName": "Stimulus file",
        "Description": "The film that is shown, relative to /stimuli.",
    },
    "trial_type": {
        "LongName": "Kind of film",
        "Description": "Whether the film belongs to this run or to all runs.",
        "Levels": {"film": "A film of this run alone", "shared": "The clip that ends every run"},
    },
}


def write_raw_dataset(out_dir: Path, participants: Sequence[str], task: str, seed: int, films: str) -> None:
    """Write everything that belongs to the dataset as a whole."""
    description = {
        "Name": "A simulated film dataset",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["cinebold-simulate"],
        "HowToAcknowledge": f"Simulated with seed {seed}; {films}.",
    }
    write_json(out_dir / "dataset_description.json", description)
    write_text(out_dir / "README.md", README)
    rows = [f"sub-{label}\t{22 + 3 * i % 19}\t{'FM'[i % 2]}" for i, label in enumerate(participants)]
    write_text(out_dir / "participants.tsv", "\n".join(["participant_id\tage\tsex", *rows]) + "\n")
    columns = {
        "age": {"Description": "Age of the simulated participant", "Units": "years"},
        "sex": {"Description": "Sex of the simulated participant", "Levels": {"F": "female", "M": "male"}},
    }
    write_json(out_dir / "participants.json", columns)
    write_json(out_dir / f"task-{task}_events.json", EVENTS_SIDECAR)


def write_raw_run(
    func_dir: Path,
    stem: str,
    showings: Sequence[Showing],
    shared_film: str | None,
    n_volumes: int,
    tr_s: float,
    task: str,
) -> None:
    """Write the events of one run, and a place-holder for its raw BOLD."""
    lines = ["onset\tduration\ttrial_type\tstim_file"]
    for showing in showings:
        kind = "shared" if showing.film == shared_film else "film"
        lines.append(f"{showing.onset_s:.3f}\t{showing.duration_s:.3f}\t{kind}\t{showing.film}")
    write_text(func_dir / f"{stem}_events.tsv", "\n".join(lines) + "\n")
    write_placeholder_bold(func_dir / f"{stem}_bold.nii.gz", n_volumes, tr_s)
    sidecar = {"TaskName": task, "RepetitionTime": tr_s, "Instructions": "Watch the films."}
    write_json(func_dir / f"{stem}_bold.json", sidecar)
