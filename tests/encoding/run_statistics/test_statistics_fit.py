"""Models from run statistics are those from the responses, whatever is chosen later."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.run_statistics.accumulation import accumulate_run
from cinebold.encoding.run_statistics.files import RunRecord
from cinebold.encoding.run_statistics.fit import _Cells, fit_statistics, read_sums
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from cinebold.encoding.training import train
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import InputError, SettingError

DELAYS_S = (1.0, 2.0)
PLAIN = EncodingSettings(n_permutations=0, alphas=(0.01, 0.1, 1.0, 10.0), pca=0.9)
#: At 1 every weight is 0 but for rounding errors, and r is then what they make it.
LASSO = (0.01, 0.05, 0.3, 0.8)


def accumulated(designs, responses, folder, settings=PLAIN, **options):
    return [
        accumulate_run(index, designs, response, DELAYS_S, settings, folder, **options)
        for index, response in enumerate(responses)
    ]


def assert_same_fit(found, expected, tolerance=1e-6):
    assert not np.isnan(expected.maps["r"]).all()
    assert set(found.maps) == set(expected.maps) - {"noiseceiling", "rnorm"}
    for name, values in found.maps.items():
        np.testing.assert_allclose(values, expected.maps[name], atol=tolerance, err_msg=name)
    for space, weights in expected.model.weights.items():
        largest = np.nanmax(np.abs(weights))
        np.testing.assert_allclose(found.model.weights[space], weights, atol=tolerance * largest)
    np.testing.assert_allclose(found.model.intercept, expected.model.intercept, rtol=tolerance)
    assert found.warnings == expected.warnings


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def hard(request, hard_runs, tmp_path_factory):
    designs, responses = hard_runs(dtype=request.param)
    folder = tmp_path_factory.mktemp("records")
    return designs, responses, accumulated(designs, responses, folder, voxel_tile=16)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"estimator": "ols", "alphas": None},
        {"estimator": "lasso", "alphas": LASSO},
        {"estimator": "elastic_net", "alphas": LASSO, "l1_ratio": 0.3},
        {"pca": None},
        {"pca": 2.0, "standardise": "none"},
        {"pca": None, "standardise": "none"},
        {"intercept": "all"},
        {"alpha_unit": "absolute", "alphas": (10.0, 1000.0)},
        {"variance_partitioning": True},
        {"estimator": "banded_ridge", "n_candidates": 5},
        {"cross_validation": CrossValidation("k-fold", n_folds=2)},
        {"cross_validation": CrossValidation("split", test=("run-1", "run-3"))},
    ],
    ids=str,
)
def test_a_fit_from_statistics_is_a_fit_from_responses(hard, changes):
    designs, responses, records = hard
    settings = replace(PLAIN, **changes)
    expected = fit_encoding_model(designs, responses, settings, DELAYS_S)
    found = fit_statistics(records[::-1], settings)
    lasso = settings.estimator in ("lasso", "elastic_net")
    assert_same_fit(found, expected, 1e-5 if lasso else 1e-6)
    assert np.isnan(found.maps["r"][[3, 5]]).all()
    assert np.nanmean(found.maps["r"][1::2]) > np.nanmean(found.maps["r"][::2]) + 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"hrf": "glover"},
        {"standardise": "volumes"},
        {"include_rest": True},
        {"cross_validation": CrossValidation("leave-one-stimulus-out", n_folds=3)},
    ],
    ids=str,
)
def test_what_is_chosen_at_the_accumulation(hard_runs, tmp_path, changes):
    designs, responses = hard_runs()
    settings = replace(PLAIN, **changes)
    records = accumulated(designs, responses, tmp_path, settings)
    expected = fit_encoding_model(designs, responses, settings, DELAYS_S)
    assert_same_fit(fit_statistics(records, settings), expected)
    # Whole runs can be held out of whatever was accumulated.
    by_run = replace(settings, cross_validation=CrossValidation("k-fold", n_folds=2))
    assert_same_fit(fit_statistics(records, by_run), fit_encoding_model(designs, responses, by_run, DELAYS_S))


def test_columns_that_outnumber_the_rows(hard_runs, tmp_path):
    designs, responses = hard_runs(n_features=60)
    settings = replace(PLAIN, pca=None)
    records = accumulated(designs, responses, tmp_path, settings)
    assert all(cell.basis is None for record in records for cell in record.cells)
    expected = fit_encoding_model(designs, responses, settings, DELAYS_S)
    assert_same_fit(fit_statistics(records, settings), expected)


def test_runs_that_all_show_one_film_choose_alpha_by_blocks(simulate_runs, tmp_path):
    designs, responses = simulate_runs((60, 70), n_targets=12)
    records = accumulated(designs, responses, tmp_path)
    expected = fit_encoding_model(designs, responses, PLAIN, DELAYS_S)
    assert expected.diagnostics["folds"][0]["inner_scheme"] == "blocks"
    assert_same_fit(fit_statistics(records, PLAIN), expected)


def test_memory_and_tiles_change_nothing(hard_runs, tmp_path):
    designs, responses = hard_runs(n_targets=400)
    wide = fit_statistics(accumulated(designs, responses, tmp_path / "a"), PLAIN)
    records = accumulated(designs, responses, tmp_path / "b", voxel_tile=150)
    narrow = fit_statistics(records, replace(PLAIN, voxel_tile=70), memory_mb=16)
    assert_same_fit(narrow, wide)


def test_less_memory_takes_smaller_tiles(hard_runs, tmp_path):
    designs, responses = hard_runs(n_features=30, n_targets=3000, dtype=np.float32)
    settings = replace(PLAIN, pca=None)
    records = accumulated(designs, responses, tmp_path, settings)
    peaks = []
    for memory_mb in (8, 8, 1000):  # the first imports
        tracemalloc.start()
        fit_statistics(records, settings, memory_mb=memory_mb)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[2] / 2


@pytest.mark.parametrize("run", range(4))
def test_a_poisoned_held_out_run_changes_no_trained_number(hard_runs, tmp_path, run):
    """Neither do the rows of the film that it shares with the others."""
    designs, responses = hard_runs()
    records = accumulated(designs, responses, tmp_path)
    rows = stack_rows(designs, (1, 2))
    fold = outer_folds(rows, 2)[run]
    cells = _Cells(records, rows)
    prepared = cells.prepared(prepare_training(fold, rows, designs, (1, 2), PLAIN))
    sums, _, valid = read_sums(records, rows, slice(0, 40))
    clean = train(prepared, sums, PLAIN.alphas)
    poisoned = 0
    for number, own in enumerate(cells.rows):
        if not fold.train[own].any():
            poisoned += 1
            for values in (sums.products, sums.sums, sums.squares):
                values[number] = np.full_like(values[number], np.nan)
    assert poisoned > len(records[run].cells)  # cells of other runs, too
    dirty = train(prepared, sums, PLAIN.alphas)
    np.testing.assert_array_equal(dirty.weights, clean.weights)
    np.testing.assert_array_equal(dirty.alpha_index, clean.alpha_index)
    assert np.isfinite(clean.weights).all()
    assert valid.sum() == 38


def test_what_needs_the_responses_is_refused(hard_runs, tmp_path):
    designs, responses = hard_runs()
    records = accumulated(designs, responses, tmp_path)
    for changes, message in (
        ({"estimator": "lstm"}, "lstm"),
        ({"layers": True}, "layers"),
        ({"hrf": "spm"}, "accumulated with hrf none, the settings say spm"),
        ({"include_rest": True}, "include_rest False"),
        ({"standardise": "volumes"}, "standardise volumes False"),
    ):
        with pytest.raises(SettingError, match=message):
            fit_statistics(records, replace(PLAIN, **changes))
    by_film = replace(PLAIN, cross_validation=CrossValidation("leave-one-stimulus-out"))
    with pytest.raises(InputError, match="accumulate the runs with the cross-validation"):
        fit_statistics(records, by_film)
    with pytest.raises(SettingError, match="1 MB of memory do not hold 64 voxels"):
        fit_statistics(accumulated(*hard_runs(n_features=60), tmp_path / "b"), PLAIN, memory_mb=1)


def test_other_columns_than_the_accumulated_ones_are_refused(hard_runs, tmp_path):
    """Were a design exchanged behind the card's back, its columns would leave the span of the bases."""
    designs, responses = hard_runs()
    records = accumulated(designs, responses, tmp_path)
    rows = stack_rows(designs, (1, 2))
    other = [
        replace(
            design, features={space: np.roll(values, 1, axis=0) for space, values in design.features.items()}
        )
        for design in designs
    ]
    prepared = prepare_training(outer_folds(rows, 2)[0], rows, other, (1, 2), PLAIN)
    with pytest.raises(InputError, match="do not hold the columns of the fold run-0"):
        _Cells(records, rows).prepared(prepared)
    assert RunRecord.load(records[0].folder).label == "run-0"
