"""Simulated datasets, and the real command line run on them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cinebold.simulate.dataset import simulate_dataset
from cinebold.simulate.settings import quick_settings

# planted_layouts.py
sys.path.append(str(Path(__file__).parent))

#: The simulated grid is coarse: the analysis stays on it. Half the machine's memory is not needed either.
NATIVE = ("--resolution", "native")


@pytest.fixture(scope="session")
def cinebold() -> Callable[..., subprocess.CompletedProcess]:
    """Run the command in a process of its own; gives back its exit code and what it printed."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "bids_app.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            env=os.environ | variables,
        )

    return run


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """Two participants, three runs, a coarse grid. Tests must not change it."""
    return simulate_dataset(tmp_path_factory.mktemp("simulated") / "bids", quick_settings())


@pytest.fixture(scope="session")
def analysed(simulated, tmp_path_factory, cinebold) -> SimpleNamespace:
    """The dataset after `participant` and `group`. Tests must not change it."""
    root = tmp_path_factory.mktemp("analysed")
    out, work = root / "out", root / "work"
    participant = cinebold(simulated, out, "participant", "-w", work, *NATIVE)
    assert participant.returncode == 0, participant.stderr
    group = cinebold(simulated, out, "group", "-w", work, *NATIVE)
    assert group.returncode == 0, group.stderr
    return SimpleNamespace(bids=simulated, out=out, work=work, participant=participant, group=group)


@pytest.fixture
def broken(tmp_path) -> Callable[[Path], Path]:
    """A copy of a dataset that a test may break; its files are links until they are replaced."""

    def copy(dataset: Path) -> Path:
        target = tmp_path / "bids"
        shutil.copytree(dataset, target, copy_function=os.link)
        return target

    return copy
