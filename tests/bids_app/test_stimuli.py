"""From stim_file to film."""

import pytest
from skeletons import write_film, write_text

from bids_app.events import Event
from bids_app.stimuli import FilmSearch
from cinebold.errors import InputError


@pytest.fixture
def dataset(tmp_path):
    write_film(tmp_path / "raw" / "stimuli" / "train" / "a.mp4")
    return tmp_path / "raw"


def test_path_below_stimuli(dataset):
    for stim_file in ("train/a.mp4", "./train/a.mp4", "train\\a.mp4", "stimuli/train/a.mp4"):
        film = FilmSearch(dataset).find(stim_file)
        assert film.path == dataset / "stimuli" / "train" / "a.mp4"
        assert film.name == "train/a.mp4"
        assert film.warning is None


def test_folder_of_films_is_asked_last(dataset, tmp_path):
    films = tmp_path / "films"
    write_film(films / "train" / "a.mp4")
    write_film(films / "train" / "b.mp4")
    write_film(films / "deep" / "c.mp4")
    write_film(films / ".hidden" / "c.mp4")
    search = FilmSearch(dataset, films)
    assert search.find("train/a.mp4").path == dataset / "stimuli" / "train" / "a.mp4"
    by_path = search.find("stimuli/train/b.mp4")
    assert (by_path.path, by_path.name, by_path.warning) == (films / "train" / "b.mp4", "train/b.mp4", None)
    by_name = search.find("train/c.mp4")
    assert (by_name.path, by_name.name) == (films / "deep" / "c.mp4", "train/c.mp4")
    assert search.warnings == (
        f"the film train/c.mp4 was found by its file name only, as {films / 'deep' / 'c.mp4'}.",
    )
    assert search.problems == ()


def test_equal_names_are_no_answer(dataset, tmp_path):
    write_film(tmp_path / "films" / "x" / "c.mp4")
    write_film(tmp_path / "films" / "y" / "c.mp4")
    search = FilmSearch(dataset, tmp_path / "films")
    assert search.find("c.mp4").path is None
    assert "could be 2 files" in search.problems[0]
    assert "x/c.mp4, y/c.mp4" in search.problems[0]


def test_missing_films_are_told_in_one_sentence(dataset):
    search = FilmSearch(dataset)
    events = [Event(i, float(i), 1.0, f"train/{i}.mp4") for i in range(5)] + [
        Event(9, 9.0, 1.0, "train/a.mp4")
    ] * 2
    presentations, _ = search.presentations(events)
    assert len(presentations) == 2
    (sentence,) = search.problems
    assert sentence.startswith("5 of 6 films that the events name were not found in")
    assert "train/0.mp4, train/1.mp4, train/2.mp4, and 2 more" in sentence
    assert "--stimuli-dir" in sentence


@pytest.mark.parametrize(
    "stim_file", ["../secret.mp4", "train/../../secret.mp4", "/etc/a.mp4", "C:\\a.mp4", "..\\a.mp4"]
)
def test_paths_that_leave_the_dataset_are_refused(dataset, stim_file):
    write_film(dataset.parent / "secret.mp4")
    with pytest.raises(InputError, match="escapes the dataset"):
        FilmSearch(dataset).find(stim_file)


def test_links_that_leave_the_dataset_are_refused(dataset, tmp_path):
    outside = write_film(tmp_path / "elsewhere" / "b.mp4")
    (dataset / "stimuli" / "b.mp4").symlink_to(outside)
    (dataset / "stimuli" / "folder").symlink_to(outside.parent)
    for stim_file in ("b.mp4", "folder/b.mp4"):
        with pytest.raises(InputError, match="escapes the dataset"):
            FilmSearch(dataset).find(stim_file)
        assert FilmSearch(dataset, outside.parent).find(stim_file).path == dataset / "stimuli" / stim_file


def test_links_out_of_the_folder_of_films_are_refused(dataset, tmp_path):
    outside = write_film(tmp_path / "elsewhere" / "b.mp4")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "b.mp4").symlink_to(outside)
    with pytest.raises(InputError, match="escapes the dataset"):
        FilmSearch(dataset, tmp_path / "films").find("b.mp4")


def test_annex_links_are_inside(dataset, tmp_path):
    content = write_film(dataset / ".git" / "annex" / "objects" / "Xy" / "KEY")
    (dataset / "stimuli" / "b.mp4").symlink_to("../.git/annex/objects/Xy/KEY")
    assert FilmSearch(dataset).find("b.mp4").path == dataset / "stimuli" / "b.mp4"
    content.unlink()
    search = FilmSearch(dataset)
    assert search.find("b.mp4").path is None
    assert "git-annex" in search.problems[0]
    assert "datalad get" in search.problems[0]
    write_film(tmp_path / "films" / "b.mp4")
    assert FilmSearch(dataset, tmp_path / "films").find("b.mp4").path == tmp_path / "films" / "b.mp4"


def test_annex_of_a_superdataset_is_inside(dataset, tmp_path):
    write_film(tmp_path / ".git" / "modules" / "raw" / "annex" / "objects" / "KEY")
    (dataset / ".git").symlink_to("../.git/modules/raw")
    (dataset / "stimuli" / "b.mp4").symlink_to("../.git/annex/objects/KEY")
    assert FilmSearch(dataset).find("b.mp4").path is not None


def test_unlocked_annex_pointer(dataset):
    write_text(dataset / "stimuli" / "b.mp4", "/annex/objects/MD5E-s100--abc.mp4\n")
    write_text(dataset / "stimuli" / "c.mp4", "/annex/objects/MD5E-s100--abc.mp4\n")
    search = FilmSearch(dataset)
    search.find("b.mp4"), search.find("c.mp4")
    (sentence,) = search.problems
    assert "b.mp4 is a git-annex" in sentence
    assert sentence.endswith("The same holds for 1 more of the films.")


def test_rows_without_film_are_counted_and_repetitions_kept(dataset):
    search = FilmSearch(dataset)
    events = [
        Event(2, 0.0, 13.0, "train/a.mp4"),
        Event(3, 15.0, 0.0, "train/a.mp4"),
        Event(4, 30.0, 1.0, "b.wav"),
        Event(5, 31.0, 1.0, "b.txt"),
        Event(6, 32.0, 1.0, None),
        Event(7, 40.0, 5.0, "train/a.mp4", 20.0),
    ]
    presentations, warnings = search.presentations(events)
    assert [(p.onset_s, p.duration_s, p.film_offset_s) for p in presentations] == [
        (0.0, 13.0, 0.0),
        (15.0, None, 0.0),  # the same film once more, from its start
        (40.0, 5.0, 20.0),
    ]
    assert search.skipped == {"audio": 1, "text": 1, "none": 1}
    assert warnings == ("train/a.mp4 has the duration 0; it is taken as shown until it ends.",)


def test_folder_of_films_must_exist(dataset, tmp_path):
    with pytest.raises(InputError, match="--stimuli-dir"):
        FilmSearch(dataset, tmp_path / "nowhere")
