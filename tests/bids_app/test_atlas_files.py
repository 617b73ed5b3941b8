"""The choice of an atlas, of interpolation and of smoothing: what is found, and what is refused."""

import tomllib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bids_app.atlas_files import atlas_file
from bids_app.config import load_settings, settings_toml
from bids_app.map_descriptions import preparation_of
from bids_app.recipe import load_recipe, recipe_toml, resolve_recipe
from cinebold.errors import SettingError
from workflows.specifications import BoldPreparation

SCHAEFER = "tpl-MNI152NLin2009cAsym_res-02_atlas-Schaefer2018_desc-100Parcels7Networks_dseg.nii.gz"


def recipe(tmp_path, **given):
    required = {"bids_dir": tmp_path, "output_dir": tmp_path / "out", "analysis_level": "participant"}
    return resolve_recipe(load_settings(required | given))


def runs(geometry):
    return [
        SimpleNamespace(
            geometry=geometry,
            bold="/in/sub-01_bold.ending",
            cortex_masks=("a", "b"),
            entities={"space": "MNI152NLin6Asym"},
        )
    ]


def test_choices_reach_the_preparation_and_the_recorded_recipe(tmp_path):
    (tmp_path / "atlas.nii.gz").touch()
    given = {"interpolation": "cubic", "smoothing": 6, "atlas": str(tmp_path / "atlas.nii.gz")}
    resolved = recipe(tmp_path, **given)
    found = resolved.bold_preparation
    assert (found.interpolation, found.smoothing_mm, found.atlas) == ("cubic", 6.0, given["atlas"])
    (tmp_path / "mine.toml").write_text(recipe_toml(resolved))
    assert load_recipe(str(tmp_path / "mine.toml")) == resolved
    assert found.described()["atlas"] == "atlas.nii.gz"  # no path of this machine
    back = recipe(tmp_path, recipe=str(tmp_path / "mine.toml"), smoothing=0, atlas="none").bold_preparation
    assert (back.interpolation, back.smoothing_mm, back.atlas) == ("cubic", None, None)


def test_a_recorded_run_names_the_whole_path_of_an_atlas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "atlas.nii.gz").touch()
    required = {"bids_dir": "in", "output_dir": "out", "analysis_level": "participant"}
    recorded = [
        tomllib.loads(settings_toml(load_settings(required | {"atlas": atlas})))["atlas"]
        for atlas in ("atlas.nii.gz", "Schaefer2018")
    ]
    assert recorded == [str(tmp_path / "atlas.nii.gz"), "Schaefer2018"]


def test_names_are_those_of_templateflow_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    folder = tmp_path / "tpl-MNI152NLin2009cAsym"
    folder.mkdir()
    (folder / SCHAEFER).write_bytes(b"x")
    assert recipe(tmp_path, atlas="Schaefer2018").bold.atlas == str(folder / SCHAEFER)
    for name in ("Schaefer2018:desc-200Parcels7Networks", "AAL"):
        with pytest.raises(SettingError, match=f"--atlas: There is no downloaded atlas '{name}'"):
            atlas_file(name, "MNI152NLin2009cAsym")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"atlas": "absent.nii.gz"}, "--atlas: there is no file absent.nii.gz"),
        ({"atlas": "folder/absent"}, "--atlas: there is no file folder/absent"),
        ({"smoothing": -1}, "--smoothing"),
        ({"interpolation": "spline"}, "--interpolation"),
    ],
)
def test_choices_that_make_no_sense(given, sentence, tmp_path):
    with pytest.raises(SettingError, match=sentence):
        recipe(tmp_path, **given)


@pytest.mark.parametrize(
    ("geometry", "name", "sentence"),
    [
        ("volume", "a.dlabel.nii", "atlas of volumes is a NIfTI image"),
        ("volume", "a_hemi-L.label.gii", "atlas of volumes is a NIfTI image"),
        ("surface", "a.nii.gz", "atlas of surfaces is the label.gii of the left"),
        ("surface", "a_hemi-R.label.gii", "atlas of surfaces is the label.gii of the left"),
        ("surface", "a_hemi-L.label.gii", "needs a_hemi-R.label.gii beside it"),
        ("cifti", "a.nii", "atlas of grayordinates is a dlabel.nii"),
    ],
)
def test_an_atlas_of_another_kind_than_the_runs(geometry, name, sentence, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(SettingError, match=sentence):
        preparation_of(runs(geometry), BoldPreparation(atlas=str(tmp_path / name)), None)


@pytest.mark.parametrize(
    ("name", "n_remarks"),
    [
        (SCHAEFER, 1),
        (SCHAEFER.replace("2009c", "6"), 0),
        ("sub-01_space-T1w_dseg.nii.gz", 1),
        ("mine.nii", 0),
    ],
)
def test_an_atlas_in_another_space_by_its_name(name, n_remarks, tmp_path):
    (tmp_path / name).touch()
    _, remarks = preparation_of(runs("volume"), BoldPreparation(atlas=str(tmp_path / name)), None)
    assert len(remarks) == n_remarks
    assert all(name in text and "MNI152NLin6Asym" in text for text in remarks)


def test_only_volumes_are_smoothed(tmp_path):
    smoothed = BoldPreparation(smoothing_mm=6.0)
    assert preparation_of(runs("volume"), smoothed, None) == (smoothed, [])
    for kind in ("surface", "cifti"):
        with pytest.raises(SettingError, match="--smoothing 6 smooths volumes, and sub-01_bold"):
            preparation_of(runs(kind), smoothed, None)
        assert preparation_of(runs(kind), replace(smoothed, smoothing_mm=None), None)[1] == []
