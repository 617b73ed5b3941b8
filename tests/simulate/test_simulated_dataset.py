"""A whole simulated dataset: layout, the BIDS validator, equal bytes, and the truth against the files."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from cinebold.errors import InputError, SettingError
from cinebold.files import read_json
from cinebold.simulate.confounds import read_table, simple_strategy
from cinebold.simulate.dataset import simulate_dataset
from cinebold.simulate.fmriprep_dataset import SPACE
from cinebold.simulate.layout import read_showings
from cinebold.simulate.settings import SimulationSettings, quick_settings
from cinebold.simulate.signals import Directions, run_signals
from cinebold.simulate.stimuli import extract_all
from cinebold.simulate.truth import FOLDER, best_r_map, correlation, planted_mask, read_truth, residuals
from cinebold.video.decoding import probe_film


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run_stem(dataset: Path, participant: str, run: int) -> str:
    return str(
        dataset / f"derivatives/fmriprep/sub-{participant}/func/sub-{participant}_task-movie_run-{run}"
    )


def planted_series(dataset: Path, participant: str, run: int) -> np.ndarray:
    data = np.asarray(
        nib.load(f"{run_stem(dataset, participant, run)}_space-{SPACE}_desc-preproc_bold.nii.gz").dataobj
    )
    return data[planted_mask(dataset)].T.astype(np.float64)


def test_layout(tiny_dataset):
    names = set(files_of(tiny_dataset))
    run = "sub-02/func/sub-02_task-movie_run-2"
    expected = {
        f"{run}_events.tsv",
        f"{run}_bold.nii.gz",
        f"{run}_bold.json",
        "task-movie_events.json",
        "README.md",
    }
    expected |= {"dataset_description.json", "participants.tsv", "participants.json"}
    expected |= {"stimuli/film-01.mp4", "stimuli/film-02.mp4", "stimuli/film-03.mp4", "stimuli/shared.mp4"}
    fmriprep = "derivatives/fmriprep"
    expected |= {f"{fmriprep}/{run}_desc-confounds_timeseries.{suffix}" for suffix in ("tsv", "json")}
    for what in ("desc-preproc_bold", "desc-brain_mask", "boldref"):
        expected |= {f"{fmriprep}/{run}_space-{SPACE}_{what}.{suffix}" for suffix in ("nii.gz", "json")}
    anat = f"{fmriprep}/sub-01/anat/sub-01_space-{SPACE}"
    expected |= {f"{anat}_label-{tissue}_probseg.nii.gz" for tissue in ("GM", "WM", "CSF")}
    expected |= {
        f"{anat}_desc-brain_mask.nii.gz",
        f"{fmriprep}/dataset_description.json",
        f"{FOLDER}/truth.json",
    }
    assert expected <= names


def test_validator_accepts_it(tiny_dataset):
    program = Path(sys.executable).with_name("bids-validator-deno")
    if not program.exists():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([program, tiny_dataset], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_two_runs_give_equal_bytes_in_every_file(tiny_dataset, tiny_settings, tmp_path):
    again = simulate_dataset(tmp_path / "again", tiny_settings)
    first, second = files_of(tiny_dataset), files_of(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_events_fit_the_films_and_the_run(tiny_dataset, tiny_settings):
    films_of_runs = []
    for run in (1, 2):
        events = tiny_dataset / f"sub-01/func/sub-01_task-movie_run-{run}_events.tsv"
        showings = read_showings(events)
        same = tiny_dataset / f"sub-02/func/sub-02_task-movie_run-{run}_events.tsv"
        assert events.read_text() == same.read_text()
        image = nib.load(f"{run_stem(tiny_dataset, '01', run)}_space-{SPACE}_desc-preproc_bold.nii.gz")
        assert image.shape[3] == nib.load(str(events).replace("events.tsv", "bold.nii.gz")).shape[3]
        last_s = 0.0
        for showing in showings:
            duration_s = probe_film(tiny_dataset / "stimuli" / showing.film).duration_s
            assert 0 <= duration_s - showing.duration_s < 0.001 + 1e-9
            assert showing.onset_s - last_s >= tiny_settings.blank_s
            last_s = showing.onset_s + showing.duration_s
        assert last_s + tiny_settings.tail_s <= image.shape[3] * tiny_settings.tr_s + 1e-9
        assert showings[-1].film == "shared.mp4"
        films_of_runs.append({showing.film for showing in showings[:-1]})
    assert not films_of_runs[0] & films_of_runs[1]


def test_sidecar_says_when_volumes_were_acquired(tiny_dataset, tiny_settings):
    facts = read_json(f"{run_stem(tiny_dataset, '01', 1)}_space-{SPACE}_desc-preproc_bold.json")
    assert facts["RepetitionTime"] == tiny_settings.tr_s
    assert facts["StartTime"] == tiny_settings.tr_s / 2
    assert facts["SliceTimingCorrected"] is True
    assert facts["TaskName"] == "movie"


def test_best_r_is_what_the_files_give(tiny_dataset, tiny_settings):
    """From films and truth alone: rebuild the signal, clean the series that were written, correlate."""
    truth, planted = read_truth(tiny_dataset), planted_mask(tiny_dataset)
    films = sorted({showing["film"] for run in truth["presentations"].values() for showing in run})
    features, fingerprints = extract_all(tiny_dataset / "stimuli", films)
    assert truth["extractors"] == json.loads(json.dumps(fingerprints))  # JSON knows no tuples
    directions = []
    with h5py.File(tiny_dataset / FOLDER / "weights.h5") as file:
        groups = [
            (region, space, group) for region, spaces in file.items() for space, group in spaces.items()
        ]
        for region, space, group in sorted(groups, key=lambda item: item[2].attrs["first_direction"]):
            names = tuple(name.decode() for name in group["feature_names"][()])
            arrays = (group[name][()] for name in ("mean", "scale", "weights"))
            directions.append(Directions(region, space, names, *arrays))
    with h5py.File(tiny_dataset / FOLDER / "sub-02" / "func" / "sub-02_mix.h5") as file:
        mix, voxels = file["mix"][()], file["voxels"][()]
    np.testing.assert_array_equal(voxels, np.argwhere(planted))
    r = []
    for run in (1, 2):
        showings = read_showings(tiny_dataset / f"sub-02/func/sub-02_task-movie_run-{run}_events.tsv")
        series = planted_series(tiny_dataset, "02", run)
        times_s = (np.arange(len(series)) + 0.5) * tiny_settings.tr_s
        signal = run_signals(showings, features, directions, times_s) @ mix
        nuisance, keep = simple_strategy(
            read_table(f"{run_stem(tiny_dataset, '02', run)}_desc-confounds_timeseries.tsv")
        )
        assert keep.sum() == len(keep) - tiny_settings.n_non_steady
        r.append(correlation(*(residuals(values[keep], nuisance[keep]) for values in (signal, series))))
    expected = best_r_map(tiny_dataset, "02", "cleaned")[planted]
    np.testing.assert_allclose(np.mean(r, axis=0), expected, atol=2e-3)  # the files keep 16 bits


def test_ideal_best_r_follows_the_signal_to_noise_ratio(tiny_dataset, tiny_settings):
    planted = planted_mask(tiny_dataset)
    ideal = best_r_map(tiny_dataset, "01", "ideal")
    cleaned = best_r_map(tiny_dataset, "01", "cleaned")
    low, high = tiny_settings.best_r_range
    # r of signal deviation s is s / sqrt(1 + s^2): evenly spread over the range, up to sampling of short runs
    assert ideal[planted].mean() == pytest.approx((low + high) / 2, abs=0.05)
    assert (np.abs(ideal[planted] - np.clip(ideal[planted], low - 0.25, high + 0.1)) == 0).all()
    assert not ideal[~planted].any() and not cleaned[~planted].any()
    assert cleaned[planted].mean() < ideal[planted].mean()


def test_participants_differ_in_noise_and_voxels_but_share_directions(tiny_dataset):
    first, second = (planted_series(tiny_dataset, participant, 1) for participant in ("01", "02"))
    assert np.abs(correlation(first, second)).max() < 0.98
    mixes = []
    for participant in ("01", "02"):
        with h5py.File(
            tiny_dataset / FOLDER / f"sub-{participant}" / "func" / f"sub-{participant}_mix.h5"
        ) as file:
            mixes.append(file["mix"][()])
    agreement = np.corrcoef(mixes[0].ravel(), mixes[1].ravel())[0, 1]
    assert 0.3 < agreement < 0.95


def test_real_films_are_dealt_out_to_the_runs(tmp_path, tiny_dataset):
    settings = quick_settings(
        n_participants=1, n_runs=2, films_dir=tiny_dataset / "stimuli", film_seconds=30.0, shared_seconds=3.0,
        resolution_mm=12.0, anat_resolution_mm=12.0,
    )  # fmt: skip
    dataset = simulate_dataset(tmp_path / "real", settings)
    shown = [read_showings(dataset / f"sub-01/func/sub-01_task-movie_run-{run}_events.tsv") for run in (1, 2)]
    assert [showing.film for showing in shown[0]] == ["film-01.mp4", "shared.mp4"]
    assert [showing.duration_s for showing in shown[0]] == [30.0, 3.0]  # both films are longer and are cut
    assert {showing.film for showing in shown[1]} == {"film-02.mp4", "shared.mp4"}
    source, copy = tiny_dataset / "stimuli" / "film-01.mp4", dataset / "stimuli" / "film-01.mp4"
    assert copy.read_bytes() == source.read_bytes()


def test_too_few_real_films_are_refused(tmp_path, tiny_dataset):
    settings = SimulationSettings(films_dir=tiny_dataset / "stimuli", n_runs=4)
    with pytest.raises(InputError, match="at least 5 films"):
        simulate_dataset(tmp_path / "few", settings)


def test_a_directory_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(SettingError, match="new or empty"):
        simulate_dataset(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"n_runs": 0}, {"tr_s": -1}, {"snr": -0.1}, {"ar1": 1.0}, {"film_seconds": 5}, {"resolution_mm": 40},
     {"best_r_range": (0.9, 0.5)}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        SimulationSettings(**wrong)
