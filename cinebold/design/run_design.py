"""What the film did in one run, on the grid of its volumes."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cinebold.errors import InputError
from cinebold.files import atomic_path

_VERSION = 1


@dataclass(frozen=True)
class RunDesign:
    """The features and films of one run, a row a volume."""

    label: str
    tr_s: float
    features: dict[
        str, np.ndarray
    ]  #: feature space -> (n_volumes, n_features) float64, 0 where no film is shown
    has_film: np.ndarray  #: (n_volumes,) bool
    film_of_volume: np.ndarray  #: (n_volumes,) int, index into `film_ids`, -1 where no film is shown
    film_ids: tuple[str, ...]  #: content hashes: the same film has the same id in every run
    keep: np.ndarray  #: (n_volumes,) bool, False where the response is censored
    names: dict[str, tuple[str, ...]]  #: feature space -> names of its columns
    film_time_s: np.ndarray | None = (
        None  #: (n_volumes,) film time shown at each volume, NaN where none is shown
    )

    #: (n_volumes, rank) what was regressed out of the responses, orthonormal columns, 0 where not kept; None: nothing
    nuisance: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.nuisance is not None and (self.nuisance.ndim != 2 or len(self.nuisance) != self.n_volumes):
            raise InputError(
                f"Run {self.label}: nuisance has shape {self.nuisance.shape}, expected ({self.n_volumes}, rank)."
            )
        for space, values in self.features.items():
            if values.ndim != 2 or len(values) != self.n_volumes:
                raise InputError(
                    f"Run {self.label}: the features of {space} have shape {values.shape}, expected "
                    f"({self.n_volumes}, n_features): a row a volume."
                )
        for what in ("film_of_volume", "keep", "film_time_s"):
            column = getattr(self, what)
            if column is not None and column.shape != (self.n_volumes,):
                raise InputError(
                    f"Run {self.label}: {what} has shape {column.shape}, expected ({self.n_volumes},)."
                )

    @property
    def n_volumes(self) -> int:
        return len(self.has_film)

    @property
    def films_of_rows(self) -> tuple[str | None, ...]:
        """The film of each row, None where none is shown."""
        return tuple(None if film < 0 else self.film_ids[film] for film in self.film_of_volume)

    def save(self, path: str | Path) -> Path:
        """Write an .npz without pickle; equal designs give equal bytes."""
        spaces = list(self.features)
        card = {
            "version": _VERSION,
            "label": self.label,
            "tr_s": self.tr_s,
            "spaces": spaces,
            "film_ids": list(self.film_ids),
            "names": {space: list(self.names.get(space, ())) for space in spaces},
        }
        arrays = {f"features_{index}": self.features[space] for index, space in enumerate(spaces)}
        arrays |= {"has_film": self.has_film, "film_of_volume": self.film_of_volume, "keep": self.keep}
        for name in ("film_time_s", "nuisance"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        arrays["card"] = np.frombuffer(json.dumps(card).encode(), dtype=np.uint8)
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "RunDesign":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            if "card" not in arrays:
                raise InputError(f"{path} is not a run design: it has no card; make it again.")
            card = json.loads(arrays["card"].tobytes())
            if card.get("version") != _VERSION:
                raise InputError(
                    f"{path} holds a run design of version {card.get('version')}, expected {_VERSION}; make "
                    "it again."
                )
            return cls(
                label=card["label"],
                tr_s=card["tr_s"],
                features={space: arrays[f"features_{index}"] for index, space in enumerate(card["spaces"])},
                has_film=arrays["has_film"],
                film_of_volume=arrays["film_of_volume"],
                film_ids=tuple(card["film_ids"]),
                keep=arrays["keep"],
                names={space: tuple(names) for space, names in card["names"].items()},
                film_time_s=arrays["film_time_s"] if "film_time_s" in arrays else None,
                nuisance=arrays["nuisance"] if "nuisance" in arrays else None,
            )
