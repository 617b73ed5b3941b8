"""A recurrent network from features to hidden states, whose linear read-out is always the best one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinebold.encoding.gpu.device import checked_device, exact_products
from cinebold.errors import InputError, SettingError

if TYPE_CHECKING:
    import torch

_GRADIENT_NORM = 1.0
#: Deviation of a gate's drive by the inputs at the start: small, so that the network begins next to linear.
_INPUT_SCALE = 0.3


@dataclass(frozen=True)
class LSTMSettings:
    """The network and its training. Defaults were chosen on simulated runs, not on anyone's data."""

    n_hidden: int = 64
    n_layers: int = 1
    n_components: int = 100  #: principal components of the training responses that the network learns from
    penalty: float = 10.0  #: of the read-out while the network learns, relative (`NetworkTraining`)
    learning_rate: float = 0.01
    weight_decay: float = 3.0  #: of AdamW: a share of the weights, times the learning rate, an epoch
    dropout: float = 0.0  #: share of the inputs that are silenced, others for each run and epoch
    max_epochs: int = 300
    patience: int = 40  #: epochs without a better validation score before training ends
    max_inner_folds: int = 5  #: more would be as many more networks
    #: of the read-out of each voxel, relative; None: `training.READOUT_ALPHAS`
    readout_alphas: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("n_hidden", 1),
            ("n_layers", 1),
            ("n_components", 1),
            ("max_epochs", 1),
            ("patience", 1),
            ("max_inner_folds", 1),
            ("weight_decay", 0),
        ):
            if not getattr(self, name) >= least:
                raise SettingError(f"{name} of the LSTM must be at least {least}, got {getattr(self, name)}.")
        for name in ("penalty", "learning_rate"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} of the LSTM must be above 0, got {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout of the LSTM must be at least 0 and below 1, got {self.dropout}.")
        alphas = self.readout_alphas
        if alphas is not None and (not alphas or min(alphas) < 0 or sorted(set(alphas)) != list(alphas)):
            raise SettingError(f"readout_alphas of the LSTM must rise from 0 or more, got {alphas}.")


@dataclass(frozen=True)
class LSTMNetwork:
    """The weights of a network, named and shaped as by torch.nn.LSTM."""

    parameters: dict[str, np.ndarray]  #: float32

    @property
    def n_columns(self) -> int:
        return self.parameters["weight_ih_l0"].shape[1]

    @property
    def n_hidden(self) -> int:
        return self.parameters["weight_hh_l0"].shape[1]

    @property
    def n_layers(self) -> int:
        return sum(name.startswith("weight_ih_l") for name in self.parameters)

    def states(self, columns: np.ndarray) -> np.ndarray:
        """The hidden states of the last layer over one run, from a state of zeros.

        Computed on the CPU with one thread, so that equal runs have equal states wherever the network learned.

        Parameters
        ----------
        columns : (n_volumes, n_columns), finite

        Returns
        -------
        (n_volumes, n_hidden) float64, each between -1 and 1
        """
        import torch

        if columns.ndim != 2 or columns.shape[1] != self.n_columns:
            raise InputError(f"The network needs {self.n_columns} columns a volume, got {columns.shape}.")
        with one_torch_thread(), torch.no_grad():
            network = _empty_network(self.n_columns, self.n_hidden, self.n_layers, torch.device("cpu"))
            network.load_state_dict({name: torch.tensor(value) for name, value in self.parameters.items()})
            batch = torch.as_tensor(np.ascontiguousarray(columns), dtype=torch.float32)[None]
            return network(batch)[0][0].numpy().astype(np.float64)


class NetworkTraining:
    r"""A network that learns, an epoch at a time.

    The read-out is no parameter: at every epoch it is the ridge solution for the states H as they are,

        W = (H'H + penalty * trace(H'H) / p * I)^-1 H'Z

    and the gradient of the squared error |Z - H W|^2 / |Z|^2 goes through it (variable projection; Golub & Pereyra,
    1973, SIAM J. Numer. Anal. 10, 413-432). That needs tens of epochs where a learned read-out needs
    hundreds, and lets the states that the final read-out is given be those that suit it. As the error is that of
    the shrunken prediction and the penalty itself is not part of it, a high penalty makes the network put what is
    common to many responses into few strong directions of its states, which is what keeps it from fitting noise.

    One epoch is one step of AdamW on all training runs at once, each from its first volume to its last. Rows that
    are not trained on stay in the sequence but not in H and Z. States and responses are centred on their means
    over the training rows of each run (or of all runs), after what was regressed out of the responses was
    regressed out of the states: the prediction is linear in them.

    Initial weights are drawn from the seed alone, recurrent ones orthogonal; forget gates start open (Jozefowicz et
    al., 2015). Inputs are brought to a mean variance of 1 by one common factor, which ends up in the weights. The
    global random state is neither read nor changed.

    Parameters
    ----------
    columns : a run each, (n_volumes, n_columns)
    targets : a run each, (n_volumes, n_components); only training rows are read
    train : a run each, (n_volumes,) bool; runs without a training row only have states
    nuisance : a run each, (n_volumes, rank) orthonormal columns, or None
    centre_runs : one mean a run; False: one for all rows
    """

    def __init__(
        self,
        columns: Sequence[np.ndarray],
        targets: Sequence[np.ndarray],
        train: Sequence[np.ndarray],
        nuisance: Sequence[np.ndarray | None],
        settings: LSTMSettings,
        *,
        seed: int = 0,
        device: str = "cpu",
        centre_runs: bool = True,
    ) -> None:
        import torch

        place = checked_device(device)
        padded = np.zeros((len(columns), max(map(len, columns)), columns[0].shape[1]), dtype=np.float32)
        for run, values in enumerate(columns):
            padded[run, : len(values)] = values
        self.runs = [run for run, mask in enumerate(train) if mask.any()]
        variance = np.concatenate([columns[run][train[run]] for run in self.runs]).var(axis=0).mean()
        self.gain = 1.0 / np.sqrt(variance) if variance > 0 else 1.0
        self.settings = settings
        self.columns = torch.as_tensor(padded * np.float32(self.gain), device=place)
        self.lengths = [len(values) for values in columns]
        self.nuisance = [
            None if values is None else torch.as_tensor(values, dtype=torch.float32, device=place)
            for values in nuisance
        ]
        self.rows = [torch.as_tensor(np.flatnonzero(mask), device=place) for mask in train]
        self.centre_runs = centre_runs
        own = [np.asarray(targets[run][train[run]], dtype=np.float32) for run in self.runs]
        self.targets = self._centred([torch.as_tensor(values, device=place) for values in own])
        self.total = (self.targets**2).sum()
        self.random = torch.Generator().manual_seed(seed)
        self.module = _empty_network(padded.shape[2], settings.n_hidden, settings.n_layers, place)
        self._initialise()
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.n_epochs = 0

    def epoch(self) -> float:
        """One step; gives the share of the squared error that the network left before it."""
        import torch

        with one_torch_thread(), torch.enable_grad():
            states = self._training_states()
            gram = states.T @ states
            ridge = self.settings.penalty * torch.trace(gram) / len(gram)
            own = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            readout = torch.linalg.solve(gram + ridge * own, states.T @ self.targets)
            loss = ((self.targets - states @ readout) ** 2).sum() / self.total
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), _GRADIENT_NORM)
            self.optimiser.step()
        self.n_epochs += 1
        return float(loss.detach())

    def network(self) -> LSTMNetwork:
        """The weights as they are, for columns in their own units."""
        parameters = {
            name: value.detach().cpu().numpy().copy() for name, value in self.module.named_parameters()
        }
        parameters["weight_ih_l0"] *= np.float32(self.gain)
        return LSTMNetwork(parameters)

    def states(self) -> list[np.ndarray]:
        """The states over each run, (n_volumes, n_hidden) float64, as `LSTMNetwork.states` but for rounding."""
        import torch

        with one_torch_thread(), torch.no_grad():
            states = self.module(self.columns)[0].cpu().numpy().astype(np.float64)
        return [run[:length] for run, length in zip(states, self.lengths, strict=True)]

    def _training_states(self) -> "torch.Tensor":
        """(n_training_rows, n_hidden), cleaned as the responses were, and centred."""
        import torch

        columns = self.columns[self.runs]
        if self.settings.dropout:
            kept = 1.0 - self.settings.dropout
            mask = torch.rand((len(columns), 1, columns.shape[2]), generator=self.random) < kept
            columns = columns * (mask.to(columns.device) / kept)
        states = []
        for run, padded in zip(self.runs, self.module(columns)[0], strict=True):
            own, nuisance = padded[: self.lengths[run]], self.nuisance[run]
            if nuisance is not None:
                own = own - nuisance @ (nuisance.T @ own)
            states.append(own[self.rows[run]])
        return self._centred(states)

    def _centred(self, runs: list["torch.Tensor"]) -> "torch.Tensor":
        import torch

        if self.centre_runs:
            return torch.cat([run - run.mean(dim=0) for run in runs])
        stacked = torch.cat(runs)
        return stacked - stacked.mean(dim=0)

    def _initialise(self) -> None:
        import torch

        hidden = self.settings.n_hidden
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                if name.startswith("weight_ih"):
                    drawn = torch.randn(value.shape, generator=self.random) * (
                        _INPUT_SCALE / value.shape[1] ** 0.5
                    )
                elif name.startswith("weight_hh"):
                    gates = torch.randn((4, hidden, hidden), generator=self.random)
                    drawn = torch.linalg.qr(gates)[0].reshape(4 * hidden, hidden)
                else:
                    drawn = torch.zeros(value.shape)
                    if name.startswith("bias_ih"):
                        drawn[hidden : 2 * hidden] = (
                            1.0  # gates in torch's order: input, forget, cell, output
                        )
                value.copy_(drawn)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """One thread for torch's products on the CPU: the same sums, bit for bit, whatever the machine may use."""
    import torch

    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


@contextmanager
def repeatable_products() -> Iterator[None]:
    """Float32 products as they are written, by algorithms that give equal bytes; for a whole training.

    On a GPU that also needs the environment variable CUBLAS_WORKSPACE_CONFIG=:4096:8, set before the process
    starts. The switches are the process's own.
    """
    import torch

    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with one_torch_thread(), exact_products(), exact:
        yield


def _empty_network(n_columns: int, n_hidden: int, n_layers: int, device: "torch.device") -> "torch.nn.LSTM":
    """Without the draws from the global random state that torch.nn.LSTM begins with."""
    import torch

    network = torch.nn.LSTM(n_columns, n_hidden, n_layers, batch_first=True, device="meta")
    return network.to_empty(device=device)
