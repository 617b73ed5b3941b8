"""Networks of a training set: what they may not see, how long they learn, and what ridge makes of their states."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from cinebold.encoding.folds import outer_folds, whole_set
from cinebold.encoding.lstm import training as lstm_training
from cinebold.encoding.lstm.network import LSTMSettings
from cinebold.encoding.lstm.training import BlockRidge, train_networks
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.training import train
from cinebold.encoding.training_sets import prepare_training

QUICK = LSTMSettings(n_hidden=6, max_epochs=6, patience=6, learning_rate=0.03)
ALPHAS = (0.01, 0.1, 1.0, 10.0)
FILMS = CrossValidation("leave-one-stimulus-out", n_folds=2)


@pytest.fixture
def rising(monkeypatch):
    """Validation that always asks for more epochs."""
    scores = count()
    monkeypatch.setattr(lstm_training, "_validation_rsquared", lambda *_: float(next(scores)))


def networks_of(designs, responses, number=0, settings=QUICK, scheme=None, **own):
    """The rows, and the networks of one outer fold; number None: of the whole set."""
    scheme = scheme or CrossValidation()
    rows = stack_rows(designs, (1, 2))
    fold = whole_set(rows, 2, scheme) if number is None else outer_folds(rows, 2, scheme)[number]
    prepared = prepare_training(fold, rows, designs, (0,), EncodingSettings(cross_validation=scheme, **own))
    return rows, train_networks(prepared, rows, designs, responses, settings)


def bytes_of(networks):
    parameters = networks.network.parameters
    return {name: parameters[name].tobytes() for name in sorted(parameters)}


def with_nan(designs, responses, poisoned):
    """Features and responses of some rows lost."""
    starts = np.cumsum([0, *(design.n_volumes for design in designs)])
    found = []
    for first, design, response in zip(starts, designs, responses, strict=False):
        rows = poisoned[first : first + design.n_volumes, None]
        features = {space: np.where(rows, np.nan, values) for space, values in design.features.items()}
        found.append((replace(design, features=features), np.where(rows, np.nan, response)))
    return [list(own) for own in zip(*found, strict=True)]


def test_ridge_on_a_block_of_columns_is_ridge_on_these_columns():
    rng = np.random.default_rng(0)
    x, y, test = rng.normal(size=(50, 7)), rng.normal(size=(50, 3)), rng.normal(size=(20, 7))
    own = slice(2, 5)
    block = BlockRidge(x.T @ x, 50, own)
    ridge = RidgeSolver(x[:, own].T @ x[:, own], 50)
    alphas = np.array([0.1, 1.0, 10.0])
    weights = block.weights(x.T @ y, (y**2).sum(axis=0), alphas)
    np.testing.assert_allclose(weights[own], ridge.weights(x[:, own].T @ y, None, alphas))
    assert not weights[:2].any() and not weights[5:].any()
    sums = block.held_out_sums(x.T @ y, None, test.T @ test, test.T @ y[:20], ALPHAS)
    for a, b in zip(
        sums,
        ridge.held_out_sums(
            x[:, own].T @ y, None, test[:, own].T @ test[:, own], test[:, own].T @ y[:20], ALPHAS
        ),
        strict=True,
    ):
        np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(
        block.degrees_of_freedom(weights, alphas), ridge.degrees_of_freedom(weights[own], alphas)
    )


def test_the_read_out_is_a_plain_nested_loop(simulate_runs):
    """Alphas by the inner folds' own networks, weights from the states of the whole set's."""
    designs, responses = simulate_runs((60, 70, 65, 50), n_targets=6)
    _, networks = networks_of(designs, responses, 3)
    states = networks.states
    stacked = np.concatenate(responses)
    trained = train(states, stacked, ALPHAS)
    run = np.repeat(range(4), [60, 70, 65, 50])
    width = QUICK.n_hidden

    def fit(x, runs, target, alpha):
        x = np.concatenate([x[run == own] - x[run == own].mean(axis=0) for own in runs])
        y = np.concatenate([stacked[run == own, target] - stacked[run == own, target].mean() for own in runs])
        penalty = alpha * np.trace(x.T @ x) / x.shape[1]
        return Ridge(penalty, fit_intercept=False).fit(x, y).coef_

    for target in range(6):
        errors = []
        for alpha in ALPHAS:
            error = 0.0
            for left_out in range(3):
                first = (left_out + 1) * width
                x = states.features[:, first : first + width]
                weights = fit(x, [own for own in range(3) if own != left_out], target, alpha)
                residual = stacked[run == left_out, target] - x[run == left_out] @ weights
                error += ((residual - residual.mean()) ** 2).sum()
            errors.append(error)
        assert trained.alpha_index[target] == int(np.argmin(errors))
        x = states.features[:, :width]
        weights = fit(x, range(3), target, ALPHAS[trained.alpha_index[target]])
        np.testing.assert_allclose(trained.weights[:width, target], weights, rtol=1e-6, atol=1e-9)
        assert not trained.weights[width:].any()


def test_no_network_of_an_inner_fold_has_seen_its_test_rows(simulate_runs, rising):
    """The responses of run 2 teach the whole set's network and two inner ones, but not the one it validates."""
    designs, responses = simulate_runs((60, 70, 65, 50), n_targets=6)
    settings = replace(QUICK, max_epochs=2)
    _, networks = networks_of(designs, responses, 3, settings)
    # Mirrored responses have mirrored components, and only their run has.
    changed = [*responses[:2], -responses[2], responses[3]]
    _, other = networks_of(designs, changed, 3, settings)
    assert networks.n_epochs == other.n_epochs == 2
    width = settings.n_hidden
    same = [
        np.allclose(
            networks.states.features[:, first : first + width],
            other.states.features[:, first : first + width],
            atol=1e-4,
        )
        for first in range(0, 4 * width, width)
    ]
    assert same == [False, False, False, True]


@pytest.mark.parametrize("scheme", [None, FILMS])
def test_poisoned_held_out_rows_change_no_trained_number(simulate_runs, scheme):
    designs, responses = simulate_runs(clip=12, n_targets=10)
    rows, clean = networks_of(designs, responses, 0, scheme=scheme)
    fold = clean.states.fold
    held_out = fold.test | rows.shows[:, rows.films_of(fold.test)].any(axis=1)
    assert held_out.sum() > 20 and not (held_out & fold.train).any()
    _, dirty = networks_of(*with_nan(designs, responses, held_out), 0, scheme=scheme)
    assert bytes_of(dirty) == bytes_of(clean)
    assert dirty.validation == clean.validation
    for trained in (
        train(networks.states, np.nan_to_num(np.concatenate(responses)), ALPHAS)
        for networks in (clean, dirty)
    ):
        assert np.isfinite(trained.weights).all()
    np.testing.assert_array_equal(dirty.states.features[fold.train], clean.states.features[fold.train])
    assert not np.array_equal(clean.states.features[fold.test], dirty.states.features[fold.test])


def test_training_ends_early_on_noise(simulate_runs):
    designs, responses = simulate_runs((90, 90, 90), signal=0.0)
    settings = LSTMSettings(n_hidden=6, max_epochs=100, patience=5)
    _, networks = networks_of(designs, responses, None, settings)
    assert networks.n_epochs + settings.patience == len(networks.validation) - 1 < 60
    assert max(networks.validation) < 0.03
    assert networks.validation.index(max(networks.validation)) == networks.n_epochs


def test_what_can_be_learned_is_validated(simulate_runs):
    designs, responses = simulate_runs((150, 150, 150), n_features=3, signal=3.0, n_targets=10)
    settings = LSTMSettings(n_hidden=12, max_epochs=60, patience=20, learning_rate=0.03)
    _, networks = networks_of(designs, responses, None, settings)
    assert networks.n_epochs > 20
    assert max(networks.validation) > networks.validation[0] + 0.05


def test_what_was_regressed_out_of_the_responses_is_not_predicted(simulate_runs, rising):
    designs, responses = simulate_runs(n_targets=8)
    rng = np.random.default_rng(1)
    designs = [
        replace(design, nuisance=np.linalg.qr(rng.normal(size=(design.n_volumes, 3)))[0])
        for design in designs
    ]
    rows, networks = networks_of(designs, responses, 1)
    prediction = networks.states.features @ train(networks.states, np.concatenate(responses), ALPHAS).weights
    for run, design in enumerate(designs):
        np.testing.assert_allclose(design.nuisance.T @ prediction[rows.run == run], 0, atol=1e-10)
    plain = [replace(design, nuisance=None) for design in designs]
    assert bytes_of(networks_of(plain, responses, 1)[1]) != bytes_of(networks)


def test_one_training_run_is_cut_in_blocks_and_many_folds_are_drawn_from(simulate_runs):
    designs, responses = simulate_runs((80, 90), n_targets=8)
    _, networks = networks_of(designs, responses)
    assert networks.states.fold.inner_scheme == "blocks"
    assert len(networks.states.inner) == len(networks.states.fold.inner) == 5
    _, fewer = networks_of(designs, responses, 0, replace(QUICK, max_inner_folds=2))
    assert len(fewer.states.inner) == len(fewer.states.inner_solvers) == 2
    assert fewer.states.features.shape[1] == 3 * QUICK.n_hidden


def test_one_intercept_for_all_runs(simulate_runs):
    designs, responses = simulate_runs(n_targets=6)
    shifted = [own + 5 * run for run, own in enumerate(responses)]
    _, own = networks_of(designs, responses, None)
    _, same = networks_of(designs, shifted, None)
    np.testing.assert_allclose(
        same.network.parameters["weight_hh_l0"], own.network.parameters["weight_hh_l0"], atol=1e-3
    )
    _, common = networks_of(designs, shifted, None, intercept="all")
    assert (
        np.abs(common.network.parameters["weight_hh_l0"] - own.network.parameters["weight_hh_l0"]).max()
        > 0.01
    )
