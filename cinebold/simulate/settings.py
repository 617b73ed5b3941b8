"""What a simulated dataset is made of."""

from dataclasses import dataclass
from pathlib import Path

from cinebold.errors import SettingError


@dataclass(frozen=True)
class SimulationSettings:
    """Size, films, signal and noise of a simulated dataset; equal settings give equal bytes.

    Noise has unit variance per voxel (stationary AR(1)); the signal of a planted voxel is scaled such that
    signal plus noise correlates with the signal at a value drawn from `best_r_range`, before `snr` multiplies
    the signal.
    """

    n_participants: int = 3
    n_runs: int = 3
    tr_s: float = 1.5
    resolution_mm: float = 4.0
    seed: int = 0
    snr: float = 1.0  #: multiplies the standard deviation of the signal in every planted voxel
    film_seconds: float = 280.0  #: own films of a run, together
    shared_seconds: float = 24.0  #: the clip that ends every run; 0: none
    films_dir: Path | None = None  #: real films instead of procedural ones
    surfaces: tuple[str, ...] = ()  #: of `surfaces.SPACES`: where the series are written besides
    task: str = "movie"
    frames_per_second: int = 12
    frame_shape: tuple[int, int] = (72, 128)  #: rows, columns
    scene_seconds: tuple[float, float] = (2.0, 6.0)
    first_onset_s: float = 8.0  #: blank after the trigger
    blank_s: float = 6.0  #: blank between films
    tail_s: float = 10.0  #: blank after the last film
    n_non_steady: int = 1  #: first volumes that are too bright and flagged as such in the confounds
    anat_resolution_mm: float = 2.0
    best_r_range: tuple[float, float] = (0.65, 0.9)
    n_directions: int = 3  #: random feature directions of a region and feature space
    n_components: int = 4  #: principal components of a feature space in which its directions lie
    ar1: float = 0.3
    drift_sd: float = 1.0  #: of each slow cosine, in units of the noise
    motion_sd: float = 0.6  #: of the motion artefact, in units of the noise
    signal_change_percent: float = 1.0  #: what one standard deviation of noise is, of the mean image

    def __post_init__(self) -> None:
        positive = ("n_participants", "n_runs", "tr_s", "resolution_mm", "film_seconds", "frames_per_second")
        for name in (
            *positive,
            "anat_resolution_mm",
            "n_directions",
            "n_components",
            "signal_change_percent",
        ):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above zero, and it is {getattr(self, name)}.")
        for name in (
            "snr",
            "shared_seconds",
            "first_onset_s",
            "blank_s",
            "tail_s",
            "n_non_steady",
            "drift_sd",
            "motion_sd",
        ):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must not be negative, and it is {getattr(self, name)}.")
        if not 0 <= self.ar1 < 1:
            raise SettingError(f"ar1 must lie in [0, 1), and it is {self.ar1}.")
        low, high = self.best_r_range
        if not 0 < low <= high < 1:
            raise SettingError(
                f"best_r_range must be two numbers between 0 and 1, and it is {self.best_r_range}."
            )
        if self.film_seconds < 2 * self.scene_seconds[1]:
            raise SettingError(
                f"film_seconds must be at least {2 * self.scene_seconds[1]:g} s (two scenes), and it is "
                f"{self.film_seconds:g} s; ask for longer films."
            )
        if not 1 <= self.resolution_mm <= 20:
            raise SettingError(
                f"resolution_mm must lie between 1 and 20 mm, and it is {self.resolution_mm:g}."
            )


def quick_settings(**changes: object) -> SimulationSettings:
    """Settings for tests: a coarse grid and short films, made in seconds; any field can be overridden."""
    quick: dict[str, object] = {
        "n_participants": 2,
        "resolution_mm": 8.0,
        "anat_resolution_mm": 4.0,
        "tr_s": 1.0,
        "film_seconds": 160.0,
        "shared_seconds": 16.0,
        "frame_shape": (48, 80),
        "frames_per_second": 10,
    }
    return SimulationSettings(**{**quick, **changes})  # type: ignore[arg-type]
