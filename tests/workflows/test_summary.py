"""What the summary makes of maps and folds; what the encoding stage hands on."""

import json
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest

from cinebold.design.run_design import RunDesign
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from workflows.interfaces import summary
from workflows.interfaces.encoding import FitEncodingModel
from workflows.interfaces.sinks import maps_by_statistic
from workflows.interfaces.summary import _delays, _folds, _of_spaces, versions
from workflows.specifications import to_json

FILMS = {"run-1": ("e", "s"), "run-10": ("a", "b"), "run-2": ("c", "s"), "run-3": ("d",)}


def design(label, films, n_each=12, seed=0):
    rng = np.random.default_rng(seed)
    n = n_each * len(films)
    return RunDesign(
        label=label, tr_s=2.0, features={"x": rng.normal(size=(n, 3)), "y": rng.normal(size=(n, 2))},
        has_film=np.ones(n, dtype=bool), film_of_volume=np.repeat(np.arange(len(films)), n_each), film_ids=films,
        keep=np.ones(n, dtype=bool), names={"x": ("a", "b", "c"), "y": ("d", "e")},
        film_time_s=np.tile(2.0 * np.arange(n_each), len(films)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "cross_validation",
    [
        CrossValidation(),
        CrossValidation("k-fold", n_folds=2),
        CrossValidation("split", test=("run-2",)),
        CrossValidation("leave-one-stimulus-out", n_folds=3),
        CrossValidation("leave-one-stimulus-out", n_folds=99),
    ],
    ids=lambda value: f"{value.scheme} {value.n_folds}",
)
def test_the_films_of_a_fold_are_those_that_the_fit_held_out(cross_validation):
    designs = [design(label, films) for label, films in FILMS.items()]
    rows = stack_rows(designs, (0,))
    folds = outer_folds(rows, 0, cross_validation)
    expected = [
        {str(rows.whole_films[k]).split("#")[0] for k in np.flatnonzero(rows.shows[fold.test].any(axis=0))}
        for fold in folds
    ]
    # The specification may hold the runs in any order.
    labels = sorted(FILMS, reverse=True)
    told = _folds(
        {"folds": [{"held_out": fold.name} for fold in folds]},
        [{"film_names": {film: f"{film}.mp4" for film in FILMS[label]}} for label in labels],
        SimpleNamespace(runs=[SimpleNamespace(label=label) for label in labels]),
    )
    assert [{name.removesuffix(".mp4") for name in fold["films"]} for fold in told] == expected
    if cross_validation.scheme != "leave-one-stimulus-out":
        assert [", ".join(fold["runs"]) for fold in told] == [fold.name for fold in folds]


def test_transformers_is_told_where_it_was_used_and_is_there(monkeypatch):
    def version(name):
        if name in missing:
            raise PackageNotFoundError(name)
        return "1.2.3"

    missing = set()
    monkeypatch.setattr(summary, "version", version)
    assert "transformers" not in versions(["low_level", "slowfast_r50", "alexnet", "precomputed"])
    assert versions(["alexnet", "clip"])["transformers"] == "1.2.3"
    assert versions(["checkpoint"]) == versions() | {"transformers": "1.2.3"}
    missing.add("transformers")
    assert versions(["clip"]) == versions()


def test_means_of_spaces_are_over_predicted_voxels():
    maps = {
        "r": np.array([0.5, 0.1, np.nan]),
        "q": np.array([0.01, 0.9, np.nan]),
        "unique-a": np.array([0.2, 5.0, np.nan]),
        "unique-b": np.array([np.nan, 5.0, np.nan]),
        "r-ridge": np.array([0.4, 0.1, np.nan]),
    }
    assert _of_spaces(maps, ["a", "b"], 0.05) == {"unique": {"a": 0.2, "b": None}}
    untested = {name: values for name, values in maps.items() if name != "q"}
    assert _of_spaces(untested, ["a"], 0.05)["unique"]["a"] == pytest.approx(2.6)


def test_delays_of_a_network_are_those_of_the_ridge_beside_it():
    assert _delays({"delays_volumes": [1, 2]}) == [1, 2]
    assert _delays({"ridge": {"delays_volumes": [3]}}) == [3]
    assert _delays({}) == []


@pytest.mark.parametrize("in_a_child", [False, True])
def test_the_encoding_stage_names_maps_of_spaces_and_puts_the_times_into_the_card(tmp_path, in_a_child):
    import nibabel as nib

    rng = np.random.default_rng(1)
    mask = np.zeros((3, 3, 3), dtype=np.uint8)
    mask[1] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "mask.nii.gz")
    designs, responses, summaries = [], [], []
    for number, (label, films) in enumerate((("run-1", ("a",)), ("run-2", ("b",)), ("run-3", ("c",)))):
        one = design(label, films, 60, number)
        designs.append(str(one.save(tmp_path / f"{label}.npz")))
        values = one.features["x"] @ rng.normal(size=(3, 9)) + rng.normal(size=(60, 9))
        np.save(tmp_path / f"{label}.npy", values.astype(np.float32))
        responses.append(str(tmp_path / f"{label}.npy"))
        summaries.append(str(tmp_path / f"{label}.json"))
        (tmp_path / f"{label}.json").write_text(json.dumps({"timing": {"run": label, "run_s": 120.0}}))
    settings = EncodingSettings(
        n_permutations=20, variance_partitioning=True, layers=True, minimum_shift_s=10.0
    )
    stage = FitEncodingModel(
        designs=designs, responses=responses, mask=str(tmp_path / "mask.nii.gz"), design_summaries=summaries,
        settings_json=to_json(settings), delays_s=[0.0], use_gpu=in_a_child,
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    outputs = stage.compute(tmp_path / "out")
    maps = maps_by_statistic(outputs["maps"])
    assert {
        "r", "rsquared", "alpha", "p", "pfwe", "q", "z", "bestlayer", "centrelayer", "weight-x", "weight-y",
        *(f"{name}-{space}" for name in ("product", "unique", "partial", "r", "p") for space in "xy"),
    } == set(maps)  # fmt: skip
    total = sum(nib.load(maps[f"product-{space}"]).get_fdata() for space in "xy")
    np.testing.assert_allclose(total, nib.load(maps["rsquared"]).get_fdata(), atol=1e-5)
    expected = [{"run": label, "run_s": 120.0} for label in ("run-1", "run-2", "run-3")]
    assert (
        json.loads((tmp_path / "out" / "diagnostics.json").read_text())["diagnostics"]["film_timing"]
        == expected
    )
    assert EncodingModel.load(tmp_path / "out" / "encoding").card["film_timing"] == expected
