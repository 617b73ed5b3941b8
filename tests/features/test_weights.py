"""Weights files, right and wrong, of a small network."""

import numpy as np
import pytest

from cinebold.errors import InputError
from cinebold.features.weights import load_weights


@pytest.fixture
def network():
    import torch

    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def good_state(network):
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(values.shape, generator=generator).to(values.dtype)
        for name, values in network.state_dict().items()
    }


@pytest.mark.parametrize("wrapped", [True, False])
def test_checkpoints_are_read_wrapped_or_plain(network, tmp_path, wrapped):
    import torch

    state = good_state(network)
    torch.save({"model_state": state, "epoch": 3} if wrapped else state, tmp_path / "a.pyth")
    load_weights(network, tmp_path / "a.pyth", "model_state")
    for name, values in network.state_dict().items():
        np.testing.assert_array_equal(values.numpy(), state[name].numpy())


def test_safetensors(network, tmp_path):
    from safetensors.torch import save_file

    state = good_state(network)
    save_file(state, tmp_path / "a.safetensors")
    load_weights(network, tmp_path / "a.safetensors", "model_state")
    np.testing.assert_array_equal(network[0].weight.detach().numpy(), state["0.weight"].numpy())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("0.bias"), r"1 entries are missing \(e\.g\. 0\.bias\)"),
        (lambda state: state.update(extra=state["0.bias"]), r"1 are unexpected \(e\.g\. extra\)"),
        (
            lambda state: state.update({"0.weight": state["0.weight"].T}),
            r"expected 0\.weight of shape \(2, 3\)",
        ),
        (lambda state: state.update({"0.weight": "a text"}), "found something else"),
    ],
)
def test_weights_of_another_network_are_refused(network, tmp_path, change, sentence):
    import torch

    state = good_state(network)
    change(state)
    torch.save(state, tmp_path / "a.pth")
    before = network[1].bias.detach().clone()
    with pytest.raises(InputError, match=rf"a\.pth.*{sentence}"):
        load_weights(network, tmp_path / "a.pth", "model_state")
    assert (network[1].bias == before).all()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_files_that_hold_no_weights_are_refused(network, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04not weights at all" * 10)
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(network, tmp_path / name)


def test_code_in_a_checkpoint_is_not_run(network, tmp_path):
    import torch

    class Harm:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model_state": Harm()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(network, tmp_path / "a.pth", "model_state")
