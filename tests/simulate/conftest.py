"""One small simulated dataset for all tests of the simulation."""

from pathlib import Path

import pytest

from cinebold.simulate.dataset import simulate_dataset
from cinebold.simulate.settings import SimulationSettings, quick_settings


@pytest.fixture(scope="session")
def tiny_settings() -> SimulationSettings:
    return quick_settings(
        n_participants=2,
        n_runs=2,
        film_seconds=40.0,
        shared_seconds=6.0,
        resolution_mm=10.0,
        anat_resolution_mm=6.0,
    )


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory, tiny_settings: SimulationSettings) -> Path:
    return simulate_dataset(tmp_path_factory.mktemp("simulated") / "tiny", tiny_settings)
