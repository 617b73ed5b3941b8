"""Parcels as targets of an analysis: what is read, stored, painted and put into a table, of every geometry."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis

from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.geometry import VolumeGeometry
from cinebold.bold.maps import load_geometry, map_values
from cinebold.bold.parcel_geometry import ParcelGeometry, write_parcel_table
from cinebold.bold.parcels import Parcellation
from cinebold.bold.series import source_of
from cinebold.bold.surfaces import SurfaceGeometry

KEPT = np.array([1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1], bool)
LABELS = np.array([7, 0, 2, 2, 7, 9, 0, 9, 9, 2])  #: of the kept ones
NAMES = {2: "V1", 7: "hMT+", 9: "Tâche", 11: "nowhere"}
#: Of each position, the number of its parcel, -1 for none.
PARCEL = np.array([1, -1, -1, 0, 0, 1, 2, -1, -1, 2, 2, 0])


def geometries():
    return [
        VolumeGeometry(KEPT.reshape(3, 2, 2), np.diag([3.0, 3, 3, 1])),
        SurfaceGeometry(KEPT, (7, 5)),
        CiftiGeometry(KEPT, BrainModelAxis.from_mask(np.ones(12, bool), name="CortexLeft")),
    ]


@pytest.mark.parametrize("inner", geometries(), ids=lambda inner: type(inner).__name__)
def test_maps_of_parcels_are_painted_and_read_back(inner, tmp_path):
    stored = ParcelGeometry(inner, Parcellation(LABELS, NAMES)).save(tmp_path / "mask")
    parcels = load_geometry(stored)
    assert (parcels.n_targets, parcels.parcellation.names) == (3, ("V1", "hMT+", "Tâche"))
    assert parcels.parcellation.empty == ("nowhere",) and parcels.inner.is_like(inner)
    values = np.array([0.5, np.nan, -2.0], np.float32)
    expected = np.where(PARCEL >= 0, values[PARCEL], np.nan).reshape(inner.kept.shape)
    painted = map_values(parcels.save_map(tmp_path / "stat-r_statmap", values)[0])
    np.testing.assert_array_equal(painted, expected)
    np.testing.assert_array_equal(parcels.at_targets(painted), values)
    np.testing.assert_array_equal(parcels.kept.ravel(), PARCEL >= 0)
    two = parcels.filled(np.array([values, [1, 2, 3]]))
    np.testing.assert_array_equal(parcels.at_targets(two), [values, [1, 2, 3]])
    np.testing.assert_array_equal(inner.at_targets(inner.filled(np.arange(10))), np.arange(10))


def test_the_table_has_a_row_for_parcels_without_targets(tmp_path):
    parcels = ParcelGeometry(geometries()[0], Parcellation(LABELS, {**NAMES, 5: "lost"}))
    maps = {"r": np.array([0.25, np.nan, 1 / 3]), "weight": np.zeros((2, 3)), "q": np.array([0.01, 1, 0.5])}
    path = write_parcel_table(tmp_path / "atlas-x_stats.tsv", parcels, maps)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "index\tname\tn_voxels\tr\tq",
        "2\tV1\t3\t0.25\t0.01",
        "5\tlost\t0\tn/a\tn/a",
        "7\thMT+\t2\tn/a\t1",
        "9\tTâche\t3\t0.333333\t0.5",
        "11\tnowhere\t0\tn/a\tn/a",
    ]


def test_a_source_of_parcels_is_the_mean_of_what_its_targets_are(tmp_path):
    shape, n = (4, 5, 6), 7
    data = np.random.default_rng(0).normal(size=(*shape, n)).astype(np.float32)
    nibabel.Nifti1Image(data, np.diag([3.0, 3, 3, 1])).to_filename(tmp_path / "bold.nii.gz")
    inner = VolumeGeometry(np.ones((2, 2, 3), bool), np.diag([6.0, 6, 6, 1]))
    labels = np.arange(inner.n_targets) % 3
    parcels = ParcelGeometry(inner, Parcellation(labels))
    how = {"interpolation": "cubic", "smoothing_mm": 5.0}
    voxels, means, unlike = (
        np.concatenate([block.copy() for _, block in source.blocks(3)])
        for source in (
            source_of(tmp_path / "bold.nii.gz", inner, **how),
            source_of(tmp_path / "bold.nii.gz", parcels, **how),
            source_of(tmp_path / "bold.nii.gz", parcels),
        )
    )
    expected = np.stack([voxels[:, labels == k].mean(axis=1) for k in (1, 2)], axis=1)
    np.testing.assert_allclose(means, expected, atol=1e-6)
    assert np.abs(unlike - expected).max() > 0.01


def test_files_of_parcels_tell_other_masks_apart(tmp_path):
    """A step is repeated where its input's bytes differ: the stored file stands for the geometry inside too."""
    here, there = tmp_path / "a", tmp_path / "b"
    other = np.roll(KEPT, 1).reshape(3, 2, 2)
    stored = [
        ParcelGeometry(inner, Parcellation(LABELS, NAMES)).save(Path(folder) / "mask").read_bytes()
        for folder, inner in (
            (here, geometries()[0]),
            (here, geometries()[0]),
            (there, geometries()[0].with_kept(other)),
        )
    ]
    assert stored[0] == stored[1] != stored[2]
