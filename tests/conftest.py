"""What every test may ask for."""

import os
from pathlib import Path

import pytest

# Sixteen threads on a shared machine make small products slower, not faster, and results less reproducible.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("NO_ET", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data (films, BOLD, confounds, layouts); the test skips where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CINEBOLD_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"the real data are not here ({folder}); set CINEBOLD_TEST_DATA to their folder")
    return folder
