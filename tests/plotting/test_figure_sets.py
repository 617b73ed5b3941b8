"""All figures of an analysis: from saved designs, models and maps, whole or with parts missing."""

import json

import nibabel as nib
import numpy as np
import pytest

from cinebold.design.run_design import RunDesign
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.preprocessing import fit_reducer
from cinebold.plotting.group_figures import draw_group_figures
from cinebold.plotting.participant_figures import draw_participant_figures

AFFINE = np.array([[12.0, 0, 0, -72], [0, 12, 0, -108], [0, 0, 12, -64], [0, 0, 0, 1]])
SHAPE = (12, 15, 12)
NAMES = {"words": ("luminance", "contrast", "cuts"), "filters": tuple(f"filter{i:02d}" for i in range(20))}


@pytest.fixture
def analysis(tmp_path):
    """Maps, two designs and a model of a small fake analysis, on disk."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:-2, 2:-2, 2:-2] = True
    n_targets = int(mask.sum())
    r = np.linspace(-0.1, 0.6, n_targets)
    values = {
        "r": r,
        "rsquared": r**2,
        "alpha": 10.0 ** rng.integers(-2, 4, n_targets),
        "q": np.where(r > 0.2, 0.01, 0.5),
    }
    maps = {}
    for name, flat in values.items():
        volume = np.full(SHAPE, np.nan, dtype=np.float32)
        volume[mask] = flat
        maps[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(volume, AFFINE), maps[name])
    has_film = np.arange(60) >= 5
    designs = []
    for run in (1, 2):
        features = {
            space: rng.normal(size=(60, len(names))) * has_film[:, None] for space, names in NAMES.items()
        }
        design = RunDesign(
            label=f"run-{run}", tr_s=2.0, features=features, has_film=has_film,
            film_of_volume=np.where(has_film, 0, -1), film_ids=("abc",), keep=has_film, names=NAMES,
        )  # fmt: skip
        designs.append(design.save(tmp_path / f"run{run}.npz"))
    reducers = {space: fit_reducer(features[space][has_film], 0.95, True) for space in NAMES}
    model = EncodingModel(
        reducers=reducers, delays=(1, 2, 3), tr_s=2.0, names=NAMES, mask=mask, affine=AFFINE,
        weights={s: rng.normal(size=(q.n_components, 3, n_targets)).astype(np.float32) for s, q in reducers.items()},
        intercept=np.zeros(n_targets, dtype=np.float32),
    )  # fmt: skip
    model.save(tmp_path / "model")
    return {
        "maps": maps,
        "designs": designs,
        "model_prefix": tmp_path / "model",
        "alphas": [0.01, 0.1, 1, 10, 100, 1000],
    }


def _draw(analysis, folder, **changes):
    options = {**analysis, **changes}
    files = draw_participant_figures(options.pop("maps"), out_prefix=folder / "sub-01_x", **options)
    listing = json.loads((folder / "sub-01_x_desc-figures_report.json").read_text())
    assert [str(folder / f"sub-01_x_desc-{key}_figure.png") for key in listing["figures"]] == files[:-1]
    assert sorted(map(str, folder.iterdir())) == sorted(files)
    return listing


@pytest.mark.slow
def test_whole_analysis(analysis, tmp_path):
    listing = _draw(analysis, tmp_path / "a", film_names={"abc": "film.mp4"})
    assert list(listing["figures"]) == [
        "rslices", "rsurface", "rhist", "qslices", "rsquaredslices", "design1", "design2", "alphas", "delays",
        "loadingswords00", "loadingswords01", "loadingswords02",
    ]  # fmt: skip
    assert listing["not_made"] == {
        "ceilingslices": "no film was shown in two runs for ten volumes or more without another film in their design",
        "loadingsfilters00": "the columns have no names worth reading",
    }
    assert "q < 0.05" in listing["figures"]["delays"]["where"]
    _draw(analysis, tmp_path / "b", film_names={"abc": "film.mp4"})
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.slow
def test_without_a_permutation_test(analysis, tmp_path):
    maps = {name: path for name, path in analysis["maps"].items() if name != "q"}
    listing = _draw(analysis, tmp_path / "a", maps=maps)
    assert listing["not_made"]["qslices"] == "no permutation test was run"
    assert "5 %" in listing["figures"]["delays"]["where"]


def test_nothing_but_names(tmp_path):
    listing = _draw({"maps": {}}, tmp_path / "a")
    assert listing["figures"] == {}
    assert {"rslices", "rhist", "alphas", "delays", "design1"} <= set(listing["not_made"])


def test_one_bad_map_does_not_stop_the_others(analysis, tmp_path, caplog):
    maps = {"r": tmp_path / "absent.nii.gz", "alpha": analysis["maps"]["alpha"]}
    listing = _draw({"maps": maps}, tmp_path / "a")
    assert list(listing["figures"]) == ["alphas"]
    for key in ("rslices", "rsurface", "rhist", "qslices"):
        assert "absent.nii.gz" in listing["not_made"][key]
    assert "could not be drawn" in caplog.text


@pytest.mark.slow
def test_group(analysis, tmp_path):
    files = draw_group_figures(
        {"r": analysis["maps"]["r"], "t": analysis["maps"]["r"], "q": analysis["maps"]["q"]},
        out_prefix=tmp_path / "g" / "group_x", n_participants=4, weight_maps={"words": [analysis["maps"]["r"]] * 2},
    )  # fmt: skip
    listing = json.loads((tmp_path / "g" / "group_x_desc-figures_report.json").read_text())
    assert listing["not_made"] == {}
    assert set(listing["figures"]) == {
        "rslices", "rsurface", "rhist", "qslices", "tslices", "tsurface", "weightswords00", "weightswords01",
    }  # fmt: skip
    assert len(files) == 9


SPACES = list(NAMES)


def _with_spaces(analysis, folder, **more):
    """Maps of what is compared, on the grid of the analysis."""
    image = nib.load(analysis["maps"]["r"])
    r = image.get_fdata()
    values = {
        "rnorm": r / 0.5,
        "bestlayer": np.where(r > 0.2, 1.0 + (r > 0.4), np.nan),
        "centrelayer": np.where(r > 0.2, 1.5, np.nan),
        "r-ridge": r - 0.01,
    }
    for number, space in enumerate(SPACES):
        values |= {
            f"unique-{space}": 0.05 * r * (1 - number),
            f"product-{space}": r**2 / 2,
            f"partial-{space}": 0.1 * r,
            f"r-{space}": r - 0.1 * number,
            f"gamma-{space}": np.where(np.isfinite(r), 0.5, np.nan),
        }
    maps = dict(analysis["maps"])
    for name, volume in values.items():
        maps[name] = folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), AFFINE), maps[name])
    return maps | more


@pytest.mark.slow
def test_what_is_compared_is_drawn(analysis, tmp_path):
    diagnostics = {"folds": [{"held_out": "run-1", "validation_rsquared": [0.0, 0.1]}], "final": {}}
    listing = _draw(
        analysis, tmp_path / "a", maps=_with_spaces(analysis, tmp_path), spaces=SPACES, diagnostics=diagnostics,
        designs=(), model_prefix=None,
    )  # fmt: skip
    drawn = listing["figures"]
    assert {
        "rnormslices", "spacebars", "uniquebest", "bestlayersurface", "bestlayerslices", "centrelayerslices",
        "layerprofile", "gammas", "lstmscatter", "lstmcurves",
    } <= set(drawn)  # fmt: skip
    assert drawn["uniquebest"]["counts"]["filters"] == 0 < drawn["uniquebest"]["counts"]["words"]
    assert drawn["gammas"]["medians"] == {"words": 0.5, "filters": 0.5}
    assert drawn["lstmscatter"]["share_better"] == 1.0
    assert drawn["lstmscatter"]["mean_difference"] == pytest.approx(0.01, abs=1e-6)
    assert drawn["lstmcurves"]["n_epochs"] == {"without run-1": 1}
    assert drawn["rnormslices"]["vmax"] <= 1.2
    assert "q < 0.05" in drawn["spacebars"]["where"]


def test_what_is_not_there_is_neither_drawn_nor_missed(analysis, tmp_path):
    listing = _draw({"maps": {"alpha": analysis["maps"]["alpha"]}}, tmp_path / "a", spaces=SPACES)
    names = {*listing["figures"], *listing["not_made"]}
    assert not names & {"spacebars", "uniquebest", "layerprofile", "gammas", "lstmscatter", "rnormslices"}


def test_no_layer_anywhere_is_said(analysis, tmp_path):
    maps = _with_spaces(analysis, tmp_path)
    nothing = nib.load(maps["bestlayer"])
    nib.save(nib.Nifti1Image(np.full(nothing.shape, np.nan, dtype=np.float32), AFFINE), maps["bestlayer"])
    kept = {name: maps[name] for name in ("bestlayer", "centrelayer")}
    diagnostics = {"significance": {"n_permutations": 99}}
    listing = _draw({"maps": kept}, tmp_path / "a", spaces=SPACES, diagnostics=diagnostics)
    reason = listing["not_made"]["bestlayersurface"]
    assert reason.startswith("no voxel is predicted by any layer") and "no p below 0.02" in reason


def test_facts_that_are_not_known_are_none(tmp_path):
    from cinebold.plotting.figure_set import FigureSet

    figures = FigureSet(tmp_path / "x")
    figures.draw(
        "a", lambda out_png: None, facts={"mean": float("nan"), "by": {"space": float("inf"), "n": 1}}
    )
    assert figures.made["a"] == {"mean": None, "by": {"space": None, "n": 1}}
    figures.finish()
