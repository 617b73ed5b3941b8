"""Parcels as the targets of an analysis: maps are painted on what the parcels are made of, and a table names them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cinebold.bold.geometry import Geometry, with_extension
from cinebold.bold.parcels import Parcellation
from cinebold.files import atomic_path

#: Of the file that `save` writes beside that of the geometry inside.
PARCELS_EXTENSION = ".parcels.npz"


class ParcelGeometry(Geometry):
    """The parcels of an atlas on the targets of another geometry, whose files its maps are.

    Parameters
    ----------
    inner : what the parcels are made of
    parcellation : of the targets of `inner`

    Attributes
    ----------
    kept : the positions that lie in a parcel, of which there are more than targets
    """

    targets_name = "parcels"

    def __init__(self, inner: Geometry, parcellation: Parcellation) -> None:
        self.inner, self.parcellation = inner, parcellation
        self.affine = inner.affine
        self.map_extension = inner.map_extension  # type: ignore[misc]
        super().__init__(np.isfinite(self.filled(np.zeros(parcellation.n_parcels))))

    @property
    def n_targets(self) -> int:
        """The number of parcels that have a target of the geometry inside."""
        return self.parcellation.n_parcels

    def filled(self, values: np.ndarray) -> np.ndarray:
        """(n_parcels,) or (k, n_parcels), painted."""
        return self.inner.filled(self.parcellation.painted(values))

    def at_targets(self, everywhere: np.ndarray) -> np.ndarray:
        """Of painted values one a parcel."""
        _, first = np.unique(self.parcellation.members.nonzero()[0], return_index=True)
        targets = self.parcellation.members.nonzero()[1][first]
        return self.inner.at_targets(everywhere)[..., targets]

    def with_kept(self, kept: np.ndarray) -> NoReturn:
        """Not of parcels, which are no positions."""
        raise TypeError("parcels are chosen by their labels, not by positions")

    def is_like(self, other: Geometry) -> bool:
        """See `Geometry`."""
        return isinstance(other, ParcelGeometry) and self.inner.is_like(other.inner)

    def save(self, stem: Path) -> Path:
        """See `Geometry`; the file stands for itself and for that of the geometry inside, which it names."""
        parcels = self.parcellation
        path = with_extension(stem, PARCELS_EXTENSION)
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(
                stream,
                inner=self.inner.save(stem).name,
                kept=self.inner.kept,  # files of other geometries differ, so that nothing made of one stands in for it
                labels=parcels.labels,
                indices=np.array([*parcels.indices, *parcels.empty_indices], np.int64),
                names=np.array([*parcels.names, *parcels.empty], str),
            )
        return path

    def save_map(self, stem: Path, values: np.ndarray, names: Sequence[str] = ()) -> list[Path]:
        """See `Geometry`; each target has the value of its parcel, NaN outside of parcels."""
        return self.inner.save_map(stem, self.parcellation.painted(values), names)

    def describe(self) -> dict[str, Any]:
        """See `Geometry`; those of the geometry inside, with the names of the parcels."""
        return self.inner.describe() | {
            "n_targets": self.n_targets,
            "parcels": list(self.parcellation.names),
        }


def load_parcellation(path: str | Path) -> tuple[Path, Parcellation]:
    """The file of the geometry inside, and the parcels, of what `ParcelGeometry.save` wrote."""
    with np.load(path) as stored:
        names = dict(zip(stored["indices"].tolist(), stored["names"].tolist(), strict=True))
        return Path(path).with_name(str(stored["inner"])), Parcellation(stored["labels"], names)


def write_parcel_table(path: Path, geometry: ParcelGeometry, maps: Mapping[str, np.ndarray]) -> Path:
    """One row a parcel of the atlas, those without a target too: index, name, size, and the value of each map.

    Parameters
    ----------
    maps : (n_parcels,) by their names; others are left out
    """
    parcels = geometry.parcellation
    columns = {name: values for name, values in maps.items() if np.shape(values) == (parcels.n_parcels,)}
    rows = {
        index: [name, str(n), *(_cell(values[k]) for values in columns.values())]
        for k, (index, name, n) in enumerate(
            zip(parcels.indices, parcels.names, parcels.n_targets_each, strict=True)
        )
    }
    for index, name in zip(parcels.empty_indices, parcels.empty, strict=True):
        rows[index] = [name, "0", *("n/a" for _ in columns)]
    lines = [["index", "name", f"n_{geometry.inner.targets_name}", *columns]]
    lines += [[str(index), *rows[index]] for index in sorted(rows)]
    with atomic_path(path) as temporary:
        temporary.write_text(
            "".join("\t".join(line) + "\n" for line in lines), encoding="utf-8", newline="\n"
        )
    return path


def _cell(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "n/a"
