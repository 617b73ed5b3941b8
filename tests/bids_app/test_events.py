"""Events files and stimulus maps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.events import events_of_run, kind_of_stimulus, read_events, read_stimulus_map
from cinebold.errors import InputError


def _write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_onset_duration_and_film(tmp_path):
    path = _write(
        tmp_path / "events.tsv", "onset\tduration\tstim_file\n4.013\t3.000\ttrain/0480.mp4\n8\tn/a\tn/a\n"
    )
    first, second = read_events(path)
    assert (first.line, first.onset_s, first.duration_s, first.stim_file) == (2, 4.013, 3.0, "train/0480.mp4")
    assert (second.onset_s, second.duration_s, second.stim_file, second.clip_start_s) == (
        8.0,
        None,
        None,
        0.0,
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_endings_byte_order_mark_and_blank_lines(tmp_path, ending, start):
    lines = [
        "duration\tonset\textra\tstim_file",
        "603.07\t0\tx\tbourne/bourne01.mkv",
        "",
        "1\t2\t\tb.mp4\t",
        "",
    ]
    path = _write(tmp_path / "events.tsv", start + ending.join(lines))
    assert [(e.line, e.onset_s, e.duration_s, e.stim_file) for e in read_events(path)] == [
        (2, 0.0, 603.07, "bourne/bourne01.mkv"),
        (4, 2.0, 1.0, "b.mp4"),
    ]


def test_rows_may_be_short_and_stim_file_absent(tmp_path):
    (event,) = read_events(_write(tmp_path / "events.tsv", "onset\tduration\n0\t1419\n"))
    assert (event.duration_s, event.stim_file) == (1419.0, None)
    (event,) = read_events(_write(tmp_path / "short.tsv", "onset\tduration\tstim_file\n7\n"))
    assert (event.onset_s, event.duration_s, event.stim_file) == (7.0, None, None)


def test_rows_without_onset_are_notes(tmp_path):
    assert read_events(_write(tmp_path / "events.tsv", "onset\tduration\tstim_file\nn/a\tn/a\tn/a\n")) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onset\tduration\tstim_file\n0\t1\ta.mp4\n4,5\t1\ta.mp4\n", "events.tsv, line 3: onset .*'4,5'"),
        ("onset\tduration\nabc\t1\n", "line 2: onset .*'abc'"),
        ("onset\tduration\ninf\t1\n", "line 2: onset"),
        ("onset\tduration\n1e999\t1\n", "line 2: onset"),
        ("onset\tduration\n1_0\t1\n", "line 2: onset"),
        ("onset\tduration\n1\t-2\n", "line 2: duration must not be negative"),
        ("onset\tduration\n1\tlong\n", "line 2: duration .*'long'"),
        ("onset\tduration\tstim_file\nn/a\t1\ta.mp4\n", "line 2: the film a.mp4 has no onset"),
        ("onset,duration\n1,2\n", "no column 'onset'.*tab-separated"),
        ("time\tduration\n1\t2\n", "no column 'onset'"),
        ("onset\tonset\n1\t2\n", "more than once"),
        ("onset\tduration\n1\t2\tx.mp4\n", "line 2: 3 cells, but the header has 2"),
        ("", "empty"),
        (b"onset\tstim_file\n1\t\xff\xfe.mp4\n", "not UTF-8"),
        ("/annex/objects/MD5E-s5--0\n", "git-annex"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, text, message):
    path = _write(tmp_path / "events.tsv", text)
    with pytest.raises(InputError, match=message) as caught:
        read_events(path)
    assert "events.tsv" in str(caught.value)


_SECONDS = st.one_of(
    st.integers(-1000, 100_000), st.floats(-1000, 1e5, allow_nan=False), st.decimals(0, 9999, places=3)
)
_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=12
).map(lambda name: name + ".mp4")


@given(
    st.lists(
        st.tuples(_SECONDS, st.one_of(st.none(), st.floats(0, 1e4)), st.one_of(st.none(), _NAMES)), max_size=8
    )
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("events") / "events.tsv"
    lines = ["onset\tduration\tstim_file"]
    lines += ["\t".join("n/a" if cell is None else str(cell) for cell in row) for row in rows]
    _write(path, "\n".join(lines))
    read = [(event.onset_s, event.duration_s, event.stim_file) for event in read_events(path)]
    assert read == [(float(onset), duration, name) for onset, duration, name in rows]


@pytest.mark.parametrize(
    ("stim_file", "kind"),
    [
        ("train/0444.mp4", "film"),
        ("Movie.MKV", "film"),
        ("pieman_audio.wav", "audio"),
        ("GrowthCh.txt", "text"),
        ("S1fa*.jpg", "image"),
        ("0444", "other"),
        (None, "none"),
    ],
)
def test_only_films_are_films(stim_file, kind):
    assert kind_of_stimulus(stim_file) == kind


def test_stimulus_map_says_what_was_shown_in_which_run(tmp_path):
    path = _write(
        tmp_path / "map.tsv",
        "participant\ttask\trun\tstim_file\tonset\tduration\tclip_start\n"
        "n/a\tpixar\tn/a\tpartly_cloudy.mp4\t10\tn/a\tn/a\n"
        "n/a\tmovie\t01\ta.mp4\t0\t60\t0\n"
        "n/a\tmovie\t02\ta.mp4\t0\t60\t60\n"
        "sub-02\tmovie\t2\tb.mp4\t70\tn/a\t\n",
    )
    mapped = read_stimulus_map(path)
    (pixar,) = events_of_run(mapped, {"sub": "pixar001", "task": "pixar"})
    assert (pixar.stim_file, pixar.onset_s, pixar.duration_s) == ("partly_cloudy.mp4", 10.0, None)
    (second,) = events_of_run(mapped, {"sub": "01", "task": "movie", "run": "2"})
    assert (second.stim_file, second.clip_start_s) == ("a.mp4", 60.0)
    assert [e.stim_file for e in events_of_run(mapped, {"sub": "02", "task": "movie", "run": "2"})] == [
        "a.mp4",
        "b.mp4",
    ]
    assert events_of_run(mapped, {"sub": "01", "task": "rest"}) == ()
    assert events_of_run(mapped, {"sub": "01", "task": "movie"}) == ()  # has no run that a row could name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task\tonset\nmovie\t0\n", "no column 'stim_file'"),
        ("task\tstim_file\nmovie\ta.mp4\n", "no column 'onset'"),
        ("task\tstim_file\tonset\nmovie\tn/a\t0\n", "line 2: stim_file is empty"),
        ("task\tstim_file\tonset\nmovie\ta.mp4\tn/a\n", "line 2: .*onset"),
        ("task\tstim_file\tonset\tclip_start\nmovie\ta.mp4\t0\t-1\n", "clip_start must not be negative"),
    ],
)
def test_bad_stimulus_maps(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_stimulus_map(_write(tmp_path / "map.tsv", text))
    with pytest.raises(InputError, match="does not exist"):
        read_stimulus_map(tmp_path / "none.tsv")


def test_real_events(shared_data):
    folder = shared_data / "bmd_ds005165" / "sub-02" / "ses-02" / "func"
    events = read_events(folder / "sub-02_ses-02_task-train_run-2_events.tsv")
    films = [event for event in events if kind_of_stimulus(event.stim_file) == "film"]
    assert (films[0].stim_file, films[0].onset_s, films[0].duration_s) == ("train/0480.mp4", 4.013, 3.0)
    assert 0 < len(films) < len(events)  # the others are oddballs
    narratives = shared_data / "fmriprep_shells" / "ds002345_raw" / "sub-001" / "func"
    events = read_events(narratives / "sub-001_task-pieman_run-1_events.tsv")
    assert [kind_of_stimulus(event.stim_file) for event in events] == ["audio", "audio"]
