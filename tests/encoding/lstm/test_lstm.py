"""The network against an explicit loop, its learning against the definition of its error, and its determinism."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cinebold.encoding.lstm.network import LSTMNetwork, LSTMSettings, NetworkTraining, one_torch_thread
from cinebold.errors import InputError, SettingError

SMALL = LSTMSettings(n_hidden=5, penalty=2.0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def states_by_hand(parameters, columns):
    """One volume and one gate after the other; torch's order of gates is input, forget, cell, output."""
    layer, sequence = 0, columns
    while f"weight_ih_l{layer}" in parameters:
        w, u = parameters[f"weight_ih_l{layer}"], parameters[f"weight_hh_l{layer}"]
        bias = parameters[f"bias_ih_l{layer}"] + parameters[f"bias_hh_l{layer}"]
        h = c = np.zeros(u.shape[1])
        out = []
        for x in sequence:
            i, f, g, o = np.split(w @ x + u @ h + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out.append(h)
        layer, sequence = layer + 1, np.array(out)
    return sequence


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    lengths = (40, 55, 50)
    columns = [rng.normal(size=(n, 3)) * 0.2 for n in lengths]
    targets = [rng.normal(size=(n, 4)) + 3 for n in lengths]
    train = [rng.random(n) < 0.8 for n in lengths]
    nuisance = [np.linalg.qr(rng.normal(size=(n, 2)))[0] for n in lengths]
    return columns, targets, train, [nuisance[0], None, nuisance[2]]


def trained(runs, settings=SMALL, epochs=4, **options):
    training = NetworkTraining(*runs, settings, **options)
    losses = [training.epoch() for _ in range(epochs)]
    return training, losses


@pytest.mark.parametrize("n_layers", [1, 2])
def test_states_equal_an_explicit_loop(runs, n_layers):
    training, _ = trained(runs, LSTMSettings(n_hidden=5, n_layers=n_layers))
    network = training.network()
    assert (network.n_columns, network.n_hidden, network.n_layers) == (3, 5, n_layers)
    for columns, padded in zip(runs[0], training.states(), strict=True):
        by_hand = states_by_hand(network.parameters, columns)
        np.testing.assert_allclose(network.states(columns), by_hand, atol=1e-5)
        np.testing.assert_allclose(padded, by_hand, atol=1e-5)
    with pytest.raises(InputError, match="needs 3 columns"):
        network.states(np.zeros((10, 4)))


@pytest.mark.parametrize("centre_runs", [True, False])
def test_the_error_is_that_of_ridge_on_cleaned_and_centred_states(runs, centre_runs):
    _, targets, train, nuisance = runs
    training = NetworkTraining(*runs, SMALL, centre_runs=centre_runs)
    states = training.states()
    loss = training.epoch()
    x, y = [], []
    for own, target, rows, noise in zip(states, targets, train, nuisance, strict=True):
        own = own if noise is None else own - noise @ noise.T @ own
        x.append(own[rows])
        y.append(target[rows])
    if centre_runs:
        x, y = [run - run.mean(axis=0) for run in x], [run - run.mean(axis=0) for run in y]
    x, y = np.concatenate(x), np.concatenate(y)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    ridge = Ridge(SMALL.penalty * np.trace(x.T @ x) / x.shape[1], fit_intercept=False).fit(x, y)
    assert loss == pytest.approx(((y - ridge.predict(x)) ** 2).sum() / (y**2).sum(), rel=1e-4)


def test_a_step_goes_down_the_slope_of_the_error_through_the_read_out(runs):
    """The first step of Adam is the sign of the gradient, found here by differences."""
    settings = LSTMSettings(n_hidden=3, learning_rate=1e-4, weight_decay=0.0)
    before = NetworkTraining(*runs, settings)
    start = before.module.weight_ih_l0.detach().clone()
    before.epoch()
    stepped = (before.module.weight_ih_l0.detach() - start).numpy()
    for gate, column in ((0, 0), (4, 1), (7, 2)):
        errors = []
        for change in (-1e-2, 1e-2):
            probe = NetworkTraining(*runs, settings)
            with torch.no_grad():
                probe.module.weight_ih_l0[gate, column] += change
            errors.append(probe.epoch())
        assert np.sign(stepped[gate, column]) == -np.sign(errors[1] - errors[0])


def test_what_can_be_learned_is_learned(runs):
    columns, _, train, _ = runs
    targets = [np.abs(x) @ np.ones((3, 2)) for x in columns]
    settings = LSTMSettings(n_hidden=16, penalty=1.0, weight_decay=0.0)
    _, losses = trained((columns, targets, train, [None] * 3), settings, 150)
    assert losses[-1] < 0.6 * losses[0]


def test_rows_that_are_not_trained_on_stay_in_the_sequence_but_teach_nothing(runs):
    columns, targets, train, nuisance = runs
    poisoned = [np.where(rows[:, None], own, np.nan) for own, rows in zip(targets, train, strict=True)]
    same, _ = trained((columns, poisoned, train, nuisance))
    clean, _ = trained(runs)
    for name, value in clean.network().parameters.items():
        np.testing.assert_array_equal(same.network().parameters[name], value)
    first = int(np.flatnonzero(~train[1])[0])
    moved = [own.copy() for own in columns]
    moved[1][first] += 1.0
    other, _ = trained((moved, targets, train, nuisance))
    assert not np.array_equal(
        other.network().parameters["weight_hh_l0"], clean.network().parameters["weight_hh_l0"]
    )


def test_the_unit_of_the_inputs_changes_nothing(runs):
    columns, *others = runs
    small, _ = trained(runs)
    large, _ = trained(([1000 * own for own in columns], *others))
    np.testing.assert_allclose(
        large.network().states(1000 * columns[0]), small.network().states(columns[0]), atol=1e-3
    )


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_equal_bytes_whatever_the_threads_and_the_global_random_state(runs, dropout):
    settings = LSTMSettings(n_hidden=5, dropout=dropout)
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    first, losses = trained(runs, settings)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    torch.set_num_threads(2)
    second, again = trained(runs, settings)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert again == losses
    for name, value in first.network().parameters.items():
        assert value.dtype == np.float32
        assert value.tobytes() == second.network().parameters[name].tobytes()
    other, _ = trained(runs, settings, seed=1)
    assert not np.array_equal(
        other.network().parameters["weight_ih_l0"], first.network().parameters["weight_ih_l0"]
    )


def test_one_thread_is_for_the_block_only():
    before = torch.get_num_threads()
    with one_torch_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_network_is_only_its_parameters(runs):
    network = trained(runs)[0].network()
    copied = LSTMNetwork({name: value.copy() for name, value in network.parameters.items()})
    np.testing.assert_array_equal(copied.states(runs[0][0]), network.states(runs[0][0]))


@pytest.mark.parametrize(
    "fields",
    [
        {"n_hidden": 0},
        {"n_layers": 0},
        {"n_components": 0},
        {"max_epochs": 0},
        {"patience": 0},
        {"max_inner_folds": 0},
        {"weight_decay": -1.0},
        {"penalty": 0.0},
        {"learning_rate": 0.0},
        {"dropout": 1.0},
        {"readout_alphas": ()},
        {"readout_alphas": (1.0, 0.1)},
    ],
)
def test_senseless_settings_are_refused(fields):
    with pytest.raises(SettingError, match=next(iter(fields))):
        LSTMSettings(**fields)


def test_a_device_that_is_not_there_is_refused(runs):
    with pytest.raises(SettingError, match="CUDA"):
        NetworkTraining(*runs, SMALL, device="cuda:77")
