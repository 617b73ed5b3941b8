"""Columns that a user already has: every kind of file, times equal and unequal, and what is wrong with files."""

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.design.alignment import Showing, build_run_design
from cinebold.errors import InputError, SettingError
from cinebold.features.registry import bound_to, create_extractor
from cinebold.features.series import FeatureSeries
from cinebold.features.store import ensure_features, read_features, write_features
from cinebold.video.decoding import FilmInfo

DURATION_S = 10.0
TIMES_S = np.arange(20) * 0.5 + 0.25
VALUES = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)


def series_of(folder: Path, parameters, duration_s=DURATION_S, film="clips/a b.mp4"):
    info = FilmInfo(str(folder / film), 16, 16, 0, np.arange(0, duration_s, 0.04), duration_s, 25.0)
    return create_extractor("precomputed", parameters).start(info).finish()


def text_table(delimiter, header="time_s{d}speech{d}word of it", rows=None):
    rows = np.column_stack([TIMES_S, VALUES]) if rows is None else rows
    lines = [header, *("{d}".join(str(value) for value in row) for row in rows)]
    return "\n".join(lines).replace("{d}", delimiter) + "\n"


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "dataset_description.json").write_text("{}")
    return tmp_path


def write_stim(path: Path, values=VALUES, **changes):
    path.write_bytes(gzip.compress("".join("\t".join(map(str, row)) + "\n" for row in values).encode()))
    sidecar = {"SamplingFrequency": 2, "StartTime": 0.25, "Columns": ["speech", "word of it"]} | changes
    path.with_name(path.name.replace(".tsv.gz", ".json")).write_text(json.dumps(sidecar))


def write_hdf5(path: Path, **changes):
    with h5py.File(path, "w") as file:
        for name, values in ({"values": VALUES, "times_s": TIMES_S} | changes).items():
            file[name] = values


def write_own(path: Path):
    names, pad = ("speech", "word of it"), np.zeros(20, np.float32)
    write_features(path, FeatureSeries(VALUES, TIMES_S, names, pad, DURATION_S))


@pytest.mark.parametrize(
    ("file", "write", "parameters"),
    [
        ("clips/a b_stim.tsv.gz", write_stim, {}),
        ("clips/a b.csv", lambda path: path.write_text("\ufeff" + text_table(",")), {"file": "{stem}.csv"}),
        ("more/clips-a b.mp4.tsv", lambda path: path.write_text(text_table("\t")),
         {"file": "../more/{parent}-{name}.tsv"}),
        ("clips/a b.h5", write_own, {"file": "{stem}.h5"}),
        ("clips/a b.tsv.gz",
         lambda path: path.write_bytes(gzip.compress(text_table("\t", "t{d}speech{d}word of it").encode())),
         {"file": "{stem}.tsv.gz", "time_column": "t"}),
        ("clips/a b.csv", lambda path: path.write_text(text_table(",", "speech{d}word of it", VALUES)),
         {"file": "{stem}.csv", "sampling_hz": 2, "start_s": 0.25}),
        ("clips/a b.hdf5", lambda path: write_hdf5(path, names=["speech", "word of it"]), {"file": "{stem}.hdf5"}),
    ],
    ids=["BIDS", "CSV", "folders", "our own", "gzip", "rate", "HDF5"],
)  # fmt: skip
def test_every_kind_of_file_gives_the_same_series(dataset, file, write, parameters):
    (dataset / file).parent.mkdir(exist_ok=True)
    write(dataset / file)
    series = series_of(dataset, parameters)
    np.testing.assert_array_equal(series.values, VALUES)
    np.testing.assert_allclose(series.times_s, TIMES_S, atol=1e-12)
    assert series.names == ("speech", "word of it")
    assert series.film_duration_s == DURATION_S and str(dataset) not in json.dumps(series.provenance)
    chosen = series_of(dataset, parameters | {"columns": ["word of it"]})
    np.testing.assert_array_equal(chosen.values, VALUES[:, 1:])
    late = series_of(dataset, parameters | {"align": "end"})
    np.testing.assert_allclose(late.times_s, TIMES_S - 0.25, atol=1e-12)


def test_columns_of_words_do_no_harm_where_others_are_chosen(dataset):
    (dataset / "clips/a b.csv").write_text('time_s,who,loud\n0,"Ann, \nBob",1\n5,n/a,2\n')
    series = series_of(dataset, {"file": "{stem}.csv", "columns": ["loud"], "align": "start"})
    assert series.values.tolist() == [[1], [2]] and series.times_s.tolist() == [2.5, 7.5]


@settings(max_examples=40, deadline=None)
@given(
    times_s=st.lists(st.integers(0, 99), min_size=3, max_size=12, unique=True).map(sorted),
    align=st.sampled_from(["centre", "start", "end"]),
    hop_s=st.sampled_from([0.5, 0.7, 2.0]),
)
def test_rows_at_unequal_steps_are_averaged_for_as_long_as_they_stand(
    tmp_path_factory, times_s, align, hop_s
):
    """Against what is on show at each point of a fine grid."""
    times_s = np.array(times_s) / 10
    folder = tmp_path_factory.mktemp("film")
    values = np.arange(1.0, len(times_s) + 1)
    rows = "".join(f"{time_s},{value}\n" for time_s, value in zip(times_s, values, strict=True))
    (folder / "a.csv").write_text("time_s,x\n" + rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cinebold.features.precomputed._EQUAL_STEPS", -1)  # bins, whatever the steps
        patch.setattr("warnings.warn", lambda *_, **__: None)
        given_ = {"file": "{stem}.csv", "align": align, "hop_s": hop_s}
        series = series_of(folder, given_, film="a.mp4")
    grid_s = (np.arange(10_000) + 0.5) * 1e-3
    after, before = np.searchsorted(times_s, grid_s), np.searchsorted(times_s, grid_s, side="right") - 1
    nearest = np.abs(grid_s[:, None] - times_s).argmin(axis=1)
    row = {"centre": nearest, "start": np.maximum(before, 0), "end": np.minimum(after, len(values) - 1)}[
        align
    ]
    bins = (grid_s / hop_s).astype(int)  # half a bin and less at the end of a film is no bin
    expected = [values[row[bins == index]].mean() for index in range(len(series.times_s))]
    np.testing.assert_allclose(series.values[:, 0], expected, atol=0.02)


def test_rounded_times_count_as_equal_steps(dataset):
    times_s = np.round(np.arange(300) / 30, 2)
    rows = "".join(f"{time_s}\t1\n" for time_s in np.round(np.arange(300) / 30, 3))
    (dataset / "clips/a b.tsv").write_text("time_s\tx\n" + rows)
    series = series_of(dataset, {"file": "{stem}.tsv"})
    assert len(series.times_s) == len(times_s) and series.provenance["window"]["rule"] == "as in the file"


def test_a_film_that_is_longer_than_its_columns(dataset):
    write_stim(dataset / "clips/a b_stim.tsv.gz")
    with pytest.warns(
        UserWarning, match=r"from 0\.25 to 9\.75 s, but the film a b\.mp4 is from 0 to 14 s; the first"
    ):
        series = series_of(dataset, {}, duration_s=14.0)
    shown = [Showing("a", 4.0, None, 0.0, {"x": series})]
    design, _ = build_run_design("run-1", 12, 2.0, None, shown, low_pass="box")
    assert not design.features["x"][:2].any() and not design.features["x"][9:].any()
    np.testing.assert_allclose(design.features["x"][8], VALUES[-1])


GOOD = text_table(",")


@pytest.mark.parametrize(
    ("text", "parameters", "sentence"),
    [
        (GOOD.replace("\n2.25,", "\n2.25,n/a,1\n2.3,"), {}, r"line 6 has no finite number in the column 'speech'"),
        (GOOD.replace("\n2.25,", "\n2.25,inf,1\n2.3,"), {}, r"line 6 .*1 of 21 rows lack one"),
        (GOOD.replace("\n2.25,", "\n2.25,loud,1\n2.3,"), {}, r"line 6 has 'loud' in the column 'speech'"),
        (GOOD.replace("\n2.25,", "\n2.25,1\n2.3,"), {}, r"line 6 has 2 values, expected 3"),
        (GOOD.replace("\n2.25,", "\n1.75,"), {}, r"line 6 has 1\.75 s after 1\.75 s"),
        (GOOD.replace("\n2.25,", "\nn/a,"), {}, r"line 6 has nan s after 1\.75 s"),
        (GOOD.replace("time_s", "onset"), {}, r"column 'time_s' .* found 'onset', 'speech'.*`time_column`"),
        (GOOD.replace("word of it", "speech"), {}, r"needs a name of its own, found 'speech'"),
        (GOOD.replace(",", ";"), {}, r"column 'time_s' .* found 'time_s;speech;word of it'"),
        (GOOD, {"columns": ["face"]}, r"no column 'face'; there are 'speech', 'word of it'"),
        (text_table(",", rows=[]), {}, r"a row and a feature column at least"),
        ("time_s\n0\n", {}, r"a row and a feature column at least"),
        (GOOD + "11.1,1,1\n", {}, r"from 0\.25 to 11\.1 s, but the film a b\.mp4 is from 0 to 10 s"),
        (GOOD.replace("0.25,", "-0.75,", 1), {}, r"from -0\.75 to 9\.75 s"),
        ("", {}, r"empty file"),
        (b"\xff\xfe\x00a,b\n", {}, r"expected a table as text in UTF-8"),
        (b"/annex/objects/MD5E-s1--0.csv\n", {}, r"git-annex pointer"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table(dataset, text, parameters, sentence):
    (dataset / "clips/a b.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"a b\.csv: .*{sentence}"):
        series_of(dataset, {"file": "{stem}.csv", **parameters})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"Columns": ["one"]}, "line 1 has 2 values, expected 1"),
        ({"Columns": None}, "SamplingFrequency, StartTime and Columns"),
        ({"SamplingFrequency": 0}, "must be above 0 Hz"),
    ],
)
def test_what_is_wrong_with_a_sidecar(dataset, changes, sentence):
    write_stim(dataset / "clips/a b_stim.tsv.gz", **changes)
    with pytest.raises(InputError, match=sentence):
        series_of(dataset, {})
    (dataset / "clips/a b_stim.json").unlink()
    with pytest.raises(
        InputError, match=r"a b_stim\.json: expected the precomputed columns of a b\.mp4, found no"
    ):
        series_of(dataset, {})


@pytest.mark.parametrize(
    ("changes", "parameters", "sentence"),
    [
        ({"times_s": TIMES_S[:5]}, {}, r"found \(20, 2\), \(5,\) and 2 names"),
        ({"names": ["a"]}, {}, "and 1 names"),
        ({}, {"h5_values": "features"}, "no dataset 'features'; there are 'times_s', 'values'"),
        ({"values": ["a", "b"]}, {}, "expected an HDF5 file of numbers"),
    ],
)
def test_what_is_wrong_with_an_hdf5_file(dataset, changes, parameters, sentence):
    write_hdf5(dataset / "clips/a b.h5", **changes)
    with pytest.raises(InputError, match=sentence):
        series_of(dataset, {"file": "{stem}.h5", **parameters})
    (dataset / "clips/a b.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"a b\.h5: expected an HDF5 file"):
        series_of(dataset, {"file": "{stem}.h5", **parameters})


def test_files_outside_the_dataset_are_refused_unless_the_user_says_so(dataset, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    write_stim(outside / "a b_stim.tsv.gz")
    for name in ("a b_stim.tsv.gz", "a b_stim.json"):
        (dataset / "clips" / name).symlink_to(outside / name)
    for file in ("../../{stem}_stim.tsv.gz", "{stem}_stim.tsv.gz"):
        with pytest.raises(
            InputError, match=r"lie outside .*; copy them into it, or give `file` as an absolute"
        ):
            series_of(dataset, {"file": file})
    assert series_of(dataset, {"file": f"{outside}/{{stem}}_stim.tsv.gz"}).values.shape == (20, 2)
    annex = dataset / ".git/annex/objects/x"
    annex.mkdir(parents=True)
    for name in ("a b_stim.tsv.gz", "a b_stim.json"):
        (dataset / "clips" / name).unlink()
        (annex / name).write_bytes((outside / name).read_bytes())
        (dataset / "clips" / name).symlink_to(f"../.git/annex/objects/x/{name}")
    assert series_of(dataset, {}).values.shape == (20, 2)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"file": "{film}.csv"}, r"file may hold \{stem\}, \{name\}, \{parent\} and no other braces"),
        ({"file": "{stem.csv"}, "no other braces"),
        ({"file": ""}, "must name a file"),
        ({"sampling_hz": 2}, "leave sampling_hz out"),
        ({"file": "a.csv", "sampling_hz": -1}, "must not be negative"),
        ({"columns": "speech"}, "columns must be a list of texts"),
        ({"align": "left"}, "align must be one of centre, start, end"),
        ({"hop_s": 0}, "hop_s must be above 0"),
    ],
)
def test_parameters_that_make_no_sense(parameters, sentence):
    with pytest.raises(SettingError, match=sentence):
        create_extractor("precomputed", parameters)


def test_the_identity_is_that_of_the_content_and_not_of_the_place(dataset):
    write_stim(dataset / "clips/a b_stim.tsv.gz")
    (dataset / "other").mkdir()
    write_stim(dataset / "other/c_stim.tsv.gz")
    extractor = create_extractor("precomputed")
    one = bound_to(extractor, dataset / "clips/a b.mp4").fingerprint()
    assert bound_to(extractor, dataset / "other/c.mp4").fingerprint() == one
    write_stim(dataset / "other/c_stim.tsv.gz", StartTime=0.5)
    assert bound_to(extractor, dataset / "other/c.mp4").fingerprint() != one
    with pytest.raises(RuntimeError, match="ask `for_film` first"):
        extractor.fingerprint()


def test_the_store_notices_new_content_and_decodes_nothing(moving_film, tmp_path, monkeypatch):
    table = moving_film.with_suffix(".tsv")
    table.write_text("time_s\tx\n0.6\t1\n1.8\t2\n")
    monkeypatch.setattr("cinebold.features.extraction.iterate_frames", None)
    requests = {
        tmp_path / "x.h5": create_extractor("precomputed", {"file": "{stem}.tsv"}),
        tmp_path / "film.h5": create_extractor("presence"),
    }
    assert len(ensure_features(moving_film, requests)) == 2
    assert read_features(tmp_path / "x.h5").values.tolist() == [[1], [2]]
    assert ensure_features(moving_film, requests) == ()
    table.write_text("time_s\tx\n0.1\t1\n0.9\t3\n")
    with pytest.warns(UserWarning, match=r"moving\.tsv: its rows are from 0\.1 to 0\.9 s"):
        assert ensure_features(moving_film, requests) == (str(tmp_path / "x.h5"),)
    series = read_features(tmp_path / "x.h5")
    assert series.values.tolist() == [[1], [3]]
    assert series.provenance["warnings"][0].startswith("moving.tsv: its rows are from 0.1 to 0.9 s, but")
    table.unlink()
    with pytest.raises(
        InputError, match=r"moving\.tsv: expected the precomputed columns of moving\.mp4, found no"
    ):
        ensure_features(moving_film, requests)
