"""stimuli.html: every film is in the table, what is known of it is told, nothing is trusted."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from test_report_pages import _Page

from bids_app.film_showings import (
    MOST_DRAWN_FILMS,
    ShownRun,
    film_figure_prefixes,
    read_showings,
    write_showings,
)
from bids_app.report import write_stimuli_report
from bids_app.report.films import collect_films_of
from cinebold.features.series import FeatureSeries
from cinebold.features.store import write_features
from workflows.specifications import Presentation

HOSTILE = 'clips/<script>alert("x")<script>&.mp4'
FILM = {"n_frames": 1250, "n_frames_decoded": 1249, "average_fps": 25.0, "width": 640, "height": 360}


def store(root, film, space="lowlevel", *, duration_s=50.0, warnings=(), **provenance):
    series = FeatureSeries(
        np.zeros((100, 3), np.float32), np.arange(100) / 2 + 0.25, ("a", "b", "c"), np.full(100, 0.07, np.float32),
        duration_s, {"film": FILM, "warnings": list(warnings), "key": space, **provenance},
    )  # fmt: skip
    path = root / "stimuli" / f"{film}_desc-{space}_features.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_features(path, series)


def draw(root, film, recipe="m", not_made=None, scenes=(), class_spaces=()):
    prefix = film_figure_prefixes(root, [film], recipe)[film]
    folder = root / "stimuli" / "figures"
    (folder / film).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1170, 200), "white").save(f"{prefix}_desc-filmstrip_figure.png")
    listing = {
        "about": {"film": film, "recipe": recipe, "key": "k", "n_cuts": 30, "scenes": list(scenes),
                  "class_spaces": list(class_spaces)},
        "figures": {"filmstrip": {"n_pictures": 8, "n_cuts": 30, "bin_s": 0.5}},
        "not_made": {"courses": "drawing failed with <b>MemoryError</b>"} if not_made is None else not_made,
    }  # fmt: skip
    (folder / f"{film}_model-{recipe}_desc-figures_report.json").write_text(json.dumps(listing))


def shown(participant, label, *films, **known):
    presentations = tuple(Presentation(f"/films/{name}", name, onset, event) for name, onset, event in films)
    return ShownRun(participant, label, presentations, **known)


@pytest.fixture
def output(tmp_path):
    """Two films, one hostile and cut off, drawn; a third that was not drawn; two participants with equal runs."""
    cut = f"{HOSTILE}: the film announces 60.00 s but its data end at 50.00 s; the file seems to be cut off."
    store(tmp_path, HOSTILE, warnings=[cut])
    store(tmp_path, HOSTILE, "slowfastr50", warnings=[cut], random_weights=True)
    store(tmp_path, "plain.mp4", duration_s=20.0)
    store(tmp_path, "undrawn.mp4")
    best = [{"name": "playing <i>", "score": 9.31}, {"name": "sawing", "score": 2.0}]
    scenes = [{"start_s": 1.25, "end_s": 9.5, "classes": {"slowfastr50": best}}]
    draw(tmp_path, HOSTILE, scenes=scenes, class_spaces=["slowfastr50"])
    draw(tmp_path, "plain.mp4", not_made={})
    for who in ("01", "02"):
        run = shown(
            who, "task-x_run-1", (HOSTILE, 8.0, 48.0), ("plain.mp4", 60.0, None), tr_s=2.0, n_volumes=45
        )
        write_showings(tmp_path, [run])
    write_showings(tmp_path, [shown("03", "task-x_run-1", ("plain.mp4", 5.0, None))])
    return tmp_path


def test_the_page_tells_what_is_known_of_each_film(output):
    page = _Page(write_stimuli_report(output, problems=["undrawn.mp4: something & nothing"]))
    page.check(output)
    assert "script" not in page.tags and "i" not in page.tags
    text = re.sub(r"\s+", " ", page.text)
    assert "slowfastr50 come from a network with RANDOM weights" in text
    table = text[: text.index("Films one by one")]
    for part in (HOSTILE, "undrawn.mp4", "1,250", "1,249 decoded", "640 × 360", "100 × 3", "7 %"):
        assert part in table, part
    assert (
        text.count("the file seems to be cut off") == 2
    )  # beside the film, and in the section, once for both spaces
    assert "What the classes say of the 1 longest of 31 scenes" in text
    assert "playing <i> (9.31), sawing (2)" in text
    assert "Not made: drawing failed with <b>MemoryError</b>" in text
    assert "Figures were drawn of 2 of 3 films: where there are many" in text
    assert "something & nothing" in text
    # Two participants share a row; the event is shorter than the film; the third's volumes are not known.
    assert "01, 02" in text and "45 of 2 s" in text and "not known yet" in text
    assert "at 8: 48 of 50 (event 48, film 50)" in text
    assert "at 60: 20 of 20" in text
    assert [image["src"].count("filmstrip") for image in page.images] == [1, 1]
    # The bars: a run of 90 s, 1000 wide; the hostile film from 8 to 56 s, the other from 60 to 80 s.
    bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="\d+" width="([\d.]+)"', page.source)
    assert bars[:3] == [("run", "0", "1000"), ("own", "88.89", "533.3"), ("other", "666.7", "222.2")]
    assert (
        page.source.count("M22.22 13v4") == 1 + 1
    )  # one tick a volume, the first after 2 s, in each film's row
    assert (output / "stimuli.html").read_bytes() == write_stimuli_report(
        output, problems=["undrawn.mp4: something & nothing"]
    ).read_bytes()


def test_many_clips_are_a_table_and_few_drawings(tmp_path):
    names = [f"{number:04d}.mp4" for number in range(80)]
    for name in names:
        store(tmp_path, name)
    drawn = film_figure_prefixes(tmp_path, names, "m")
    assert len(drawn) == MOST_DRAWN_FILMS and {names[0], names[-1]} <= set(drawn)
    gaps = np.diff([names.index(name) for name in drawn])
    assert set(gaps) <= {2, 3}
    for name in drawn:
        draw(tmp_path, name)
    clips = [(name, 4.0 * number, None) for number, name in enumerate(names)]
    write_showings(
        tmp_path, [shown(f"{k:02d}", f"run-{k}", *clips, tr_s=1.0, n_volumes=400) for k in range(20)]
    )
    page = _Page(write_stimuli_report(tmp_path))
    page.check(tmp_path)
    assert page.source.count('<tr><th scope="row">') == 80 + 12 * MOST_DRAWN_FILMS  # twelve rows of twenty
    assert "8 more rows are not shown" in page.text
    assert page.source.count('<details class="film" open>') == 1
    assert page.source.count('<details class="film"') == MOST_DRAWN_FILMS


def test_what_cannot_be_read_is_named_or_left_out(tmp_path):
    store(tmp_path, "good.mp4")
    (tmp_path / "stimuli" / "bad.mp4_desc-lowlevel_features.h5").write_bytes(b"torn")
    (tmp_path / "stimuli" / "figures").mkdir()
    (tmp_path / "stimuli/figures/good.mp4_model-m_desc-figures_report.json").write_text("[1, 2]")
    (tmp_path / "stimuli/figures/sub-01_desc-showings_report.json").write_text('{"runs": [{"label": 1}]}')
    page = _Page(write_stimuli_report(tmp_path))
    assert "bad.mp4_desc-lowlevel_features.h5: expected a feature file, found a damaged one" in page.text
    assert "No figures were drawn" in page.text
    assert [film.name for film in collect_films_of(tmp_path)] == ["bad.mp4", "good.mp4"]
    assert "No features of any film are stored" in _Page(write_stimuli_report(tmp_path / "empty")).text


def test_showings_grow_and_volumes_stay_known(tmp_path):
    films = (("a.mp4", 0.0, None),)
    write_showings(tmp_path, [shown("01", "run-1", *films, tr_s=2.0, n_volumes=10)])
    path = tmp_path / "stimuli/figures/sub-01_desc-showings_report.json"
    before = path.read_bytes(), path.stat().st_mtime_ns
    write_showings(tmp_path, [shown("01", "run-1", *films)])  # the level stimuli knows no volumes
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    write_showings(tmp_path, [shown("01", "run-2", *films)])
    assert {label: run["n_volumes"] for label, run in read_showings(tmp_path)["01"].items()} == {
        "run-1": 10, "run-2": None,
    }  # fmt: skip
    write_showings(
        tmp_path, [shown("01", "run-1", ("b.mp4", 0.0, None))]
    )  # other events: volumes are not known
    assert read_showings(tmp_path)["01"]["run-1"]["films"][0]["name"] == "b.mp4"
    assert read_showings(tmp_path)["01"]["run-1"]["n_volumes"] is None
