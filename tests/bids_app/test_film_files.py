"""Files beside films are found, hashed once, and missed before anything runs."""

import pytest

from bids_app.config import load_settings
from bids_app.film_files import FilmFiles
from bids_app.plans import make_plan
from bids_app.recipe import load_recipe, resolve_recipe
from cinebold.features import precomputed

TABLE = "time_s,x\n0.5,1\n1.5,2\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\n[[features]]\nspace = "own"\nextractor = "precomputed"\n'
        'parameters = { file = "{stem}.csv" }\n[[features]]\nspace = "low"\nextractor = "low_level"\n'
    )
    return path


def test_content_tells_and_place_does_not(tmp_path, recipe, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(TABLE)
    films = [str(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    files = FilmFiles(load_recipe(str(recipe)))
    assert files.identity(films[0]) == files.identity(films[1]) and len(files.identity(films[0])) == 1
    assert list(files.problems(films)) == [films[2]]
    (tmp_path / "b.csv").write_text(TABLE + "2.5,3\n")
    assert FilmFiles(load_recipe(str(recipe))).identity(films[1]) != files.identity(films[0])
    monkeypatch.setattr(precomputed, "file_sha256", None)  # each file is read once
    assert files.identity(films[0])
    assert FilmFiles(load_recipe("motion-energy")).identity(films[0]) == ()


def test_the_level_stimuli_names_the_film_that_lacks_its_file(tmp_path, recipe):
    bids = tmp_path / "bids"
    (bids / "sub-01" / "func").mkdir(parents=True)
    (bids / "stimuli").mkdir()
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    (bids / "sub-01" / "func" / "sub-01_task-m_events.tsv").write_text(
        "onset\tduration\tstim_file\n0\t2\ta.mp4\n4\t2\tb.mp4\n"
    )
    for name in ("a.mp4", "b.mp4"):
        (bids / "stimuli" / name).write_bytes(b"film " + name.encode())
    (bids / "stimuli" / "a.csv").write_text(TABLE)
    given = {
        "bids_dir": str(bids), "output_dir": str(tmp_path / "out"), "analysis_level": "stimuli",
        "work_dir": str(tmp_path / "work"), "recipe": str(recipe),
    }  # fmt: skip
    settings = load_settings(given)
    plan = make_plan(settings, resolve_recipe(settings))
    assert plan.labels == ("a.mp4",) and len(plan.extractions[0].beside) == 1
    assert list(plan.problems.values()) == [
        f"{bids / 'stimuli' / 'b.csv'}: expected the precomputed columns of b.mp4, found no such file."
    ]
