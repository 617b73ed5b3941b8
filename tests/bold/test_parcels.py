"""Parcels of volumes, surfaces and grayordinates: means as nilearn's, names, empty parcels, maps painted back."""

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, LabelAxis
from nilearn.maskers import NiftiLabelsMasker

from cinebold.bold.atlases import atlas_labels, atlas_names, table_beside, templateflow_atlas
from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.confounds import Confounds
from cinebold.bold.geometry import VolumeGeometry
from cinebold.bold.parcels import Parcellation, parcel_source, parcellation_of
from cinebold.bold.preparation import prepare_responses
from cinebold.bold.reading import BoldImage
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.bold.volume_source import VolumeSource
from cinebold.errors import InputError

SHAPE, N = (9, 8, 7), 20
AFFINE = np.diag([3.0, 3.0, 3.0, 1])
ATLAS_AFFINE = np.diag([1.0, 1.0, 1.0, 1])
TABLE = (
    "index\tname\tcolor\n0\tbackground\t#000\n7\tleft part\t#100\n12\tright part\t#200\n30\tbeyond\t#300\n"
)


@pytest.fixture
def folder(tmp_path):
    """A run, and an atlas of finer voxels: two parcels in the mask, one outside it."""
    rng = np.random.default_rng(0)
    data = rng.normal(1000, 20, (*SHAPE, N)).astype(np.float32)
    nibabel.Nifti1Image(data, AFFINE).to_filename(tmp_path / "bold.nii.gz")
    labels = np.zeros((27, 24, 21), np.int16)
    labels[:13, :, :12], labels[13:, 4:, :12], labels[:, :, 18:] = 7, 12, 30
    nibabel.Nifti1Image(labels, ATLAS_AFFINE).to_filename(tmp_path / "tpl-X_res-01_atlas-Y_dseg.nii.gz")
    (tmp_path / "tpl-X_atlas-Y_dseg.tsv").write_text(TABLE)
    return tmp_path


def geometry():
    mask = np.ones(SHAPE, bool)
    mask[:, :, 5:] = False
    return VolumeGeometry(mask, AFFINE)


def test_volume_parcels_equal_nilearn(folder):
    where, atlas = geometry(), folder / "tpl-X_res-01_atlas-Y_dseg.nii.gz"
    parcels = parcellation_of(atlas, where)
    assert (parcels.names, parcels.indices, parcels.empty) == (
        ("left part", "right part"),
        (7, 12),
        ("beyond",),
    )
    source = parcel_source(VolumeSource(BoldImage(folder / "bold.nii.gz"), where.grid, where.kept), parcels)
    ours = np.concatenate([block for _, block in source.blocks(3)])
    masker = NiftiLabelsMasker(
        atlas,
        mask_img=nibabel.Nifti1Image(where.kept.astype(np.uint8), AFFINE),
        resampling_target="data",
        standardize=None,
        keep_masked_labels=False,
    )
    expected = masker.fit_transform(folder / "bold.nii.gz")
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    (path,) = where.save_map(folder / "map", parcels.painted(np.array([0.25, -1.5])))
    painted = nibabel.load(path).get_fdata()
    nearest = np.round(nibabel.load(atlas).get_fdata())[::3, ::3, ::3]
    expected_map = np.where(nearest == 7, 0.25, np.where(nearest == 12, -1.5, np.nan))
    expected_map[~where.kept] = np.nan
    np.testing.assert_array_equal(painted, expected_map)
    assert sum(parcels.n_targets_each) == np.isfinite(expected_map).sum()


class Series:
    """Values as a source of volumes, and of time series where asked."""

    targets_name, description, bytes_per_volume, path = "vertices", {}, 4, "series.gii"

    def __init__(self, values):
        self.values, (self.n_volumes, self.n_targets) = values, values.shape

    def blocks(self, n):
        for start in range(0, self.n_volumes, n):
            yield start, self.values[start : start + n]


class TimeSeries(Series):
    def read_targets(self, start, stop):
        return self.values[:, start:stop]


@pytest.mark.parametrize("kind", [Series, TimeSeries])
def test_targets_without_data_are_left_out_of_means_and_damage_is_refused(tmp_path, kind):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(N, 5000)).astype(np.float32)
    labels = rng.integers(0, 4, 5000)
    parcels = Parcellation(labels)
    assert parcels.names == ("label 1", "label 2", "label 3") and parcels.empty == ()
    values[:, :50] = np.nan
    ours = np.concatenate([block.copy() for _, block in parcel_source(kind(values), parcels).blocks(6)])
    expected = np.stack([np.nanmean(values[:, labels == k], axis=1, dtype=float) for k in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(ours, expected, atol=1e-7)
    damaged = int(np.flatnonzero(labels == 2)[-1])
    values[13, damaged] = np.nan
    confounds = Confounds(np.empty((N, 0)), (), np.ones(N, bool), "none", "c.tsv")
    with pytest.raises(InputError, match=r"first in volume 14 of 20 \(1 of 3 parcels are affected\)"):
        prepare_responses(
            parcel_source(kind(values), parcels),
            confounds,
            tr_s=1.0,
            high_pass_hz=None,
            out_npy=tmp_path / "o.npy",
        )


def write_labels(path, values, names):
    image = nibabel.gifti.GiftiImage()
    image.add_gifti_data_array(nibabel.gifti.GiftiDataArray(np.int32(values), intent="NIFTI_INTENT_LABEL"))
    for key, name in names.items():
        label = nibabel.gifti.GiftiLabel(key)
        label.label = name
        image.labeltable.labels.append(label)
    image.to_filename(path)


def test_surface_atlas_with_the_same_names_on_both_sides(tmp_path):
    names = {0: "unknown", 1: "V1", 2: "MT"}
    write_labels(tmp_path / "a_hemi-L_dseg.label.gii", [1, 1, 2, 0], names)
    write_labels(tmp_path / "a_hemi-R_dseg.label.gii", [2, 0, 2, 1, 1], names)
    kept = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1], bool)
    where = SurfaceGeometry(kept, (4, 5))
    parcels = parcellation_of(tmp_path / "a_hemi-L_dseg.label.gii", where)
    assert parcels.names == ("L V1", "L MT", "R V1", "R MT")
    np.testing.assert_array_equal(parcels.painted(np.arange(4)), [0, 0, 1, 3, np.nan, 2])
    write_labels(tmp_path / "a_hemi-R_dseg.label.gii", [1, 0, 0, 4, 4], {1: "V1", 4: "FFA"})
    write_labels(tmp_path / "a_hemi-L_dseg.label.gii", [3, 3, 2, 0], {2: "A1", 3: "TPJ"})
    assert atlas_labels(tmp_path / "a_hemi-L_dseg.label.gii", where)[1] == {
        1: "V1",
        2: "A1",
        3: "TPJ",
        4: "FFA",
    }
    with pytest.raises(InputError, match="has 5 vertices, but the runs have 6"):
        atlas_labels(tmp_path / "a_hemi-L_dseg.label.gii", SurfaceGeometry(np.ones(10, bool), (4, 6)))


def test_grayordinate_atlas_of_some_structures(tmp_path):
    left = BrainModelAxis.from_surface(np.array([0, 2, 3]), 5, "CortexLeft")
    right = BrainModelAxis.from_surface(np.array([1, 2]), 5, "CortexRight")
    voxels = BrainModelAxis(
        "Putamen_Left", voxel=np.array([[1, 1, 1], [2, 1, 1]]), affine=AFFINE, volume_shape=(4, 4, 4)
    )
    where = CiftiGeometry(np.array([1, 1, 1, 1, 0, 1, 1], bool), left + right + voxels)
    wide = BrainModelAxis.from_surface(np.arange(5), 5, "CortexLeft")
    labels = {
        0: ("???", (0, 0, 0, 0)),
        1: ("V1", (1, 0, 0, 1)),
        5: ("MT", (0, 1, 0, 1)),
        6: ("none here", (0,) * 4),
    }
    image = nibabel.Cifti2Image(
        np.float32([[1, 6, 5, 0, 6, 5, 5]]), (LabelAxis(["atlas"], [labels]), wide + right)
    )
    image.nifti_header.set_intent("ConnDenseLabel")
    image.to_filename(tmp_path / "atlas.dlabel.nii")
    found, names = atlas_labels(tmp_path / "atlas.dlabel.nii", where)
    np.testing.assert_array_equal(found, [1, 5, 0, 5, 0, 0])
    assert names == {1: "V1", 5: "MT", 6: "none here"}
    parcels = parcellation_of(tmp_path / "atlas.dlabel.nii", where)
    assert (parcels.names, parcels.empty) == (("V1", "MT"), ("none here",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("index,name\n1,a\n", "needs the columns index and name, tab-separated, but .* has index,name"),
        ("", "has none"),
        ("index\tname\nfour\ta\n", "Line 2 .* index 'four'"),
        ("index\tname\n1\ta\n1\tb\n", "index 1 comes twice"),
        ("index\tname\n1\tn/a\n", "no name to the index 1"),
    ],
)
def test_broken_tables(tmp_path, content, message):
    (tmp_path / "atlas.tsv").write_text(content or "\n")
    with pytest.raises(InputError, match=message):
        atlas_names(tmp_path / "atlas.tsv")


def test_images_that_are_no_atlas_and_tables_of_others(folder):
    image = nibabel.Nifti1Image(np.full(SHAPE, 0.3, np.float32), AFFINE)
    image.to_filename(folder / "probabilities.nii.gz")
    with pytest.raises(InputError, match="map of probabilities"):
        atlas_labels(folder / "probabilities.nii.gz", geometry())
    far = np.array(AFFINE)
    far[:3, 3] = 500
    nibabel.Nifti1Image(np.ones(SHAPE, np.int16), far).to_filename(folder / "far.nii.gz")
    with pytest.raises(InputError, match="No voxels that are analysed lie in a parcel"):
        atlas_labels(folder / "far.nii.gz", geometry())
    atlas = folder / "tpl-X_res-01_atlas-Y_dseg.nii.gz"
    assert table_beside(atlas) == folder / "tpl-X_atlas-Y_dseg.tsv"
    (folder / "other.tsv").write_text("index\tname\n99\tx\n")
    assert table_beside(atlas) == folder / "tpl-X_atlas-Y_dseg.tsv"
    with pytest.raises(InputError, match="do not belong together"):
        parcellation_of(atlas, geometry(), folder / "other.tsv")


def test_templateflow_atlases_are_found_and_never_fetched(tmp_path):
    folder = tmp_path / "tpl-X"
    folder.mkdir()
    for name, content in (
        ("tpl-X_res-01_atlas-S_desc-100_dseg.nii.gz", b"x"),
        ("tpl-X_res-02_atlas-S_desc-100_dseg.nii.gz", b"x"),
        ("tpl-X_res-01_atlas-S_desc-200_dseg.nii.gz", b"x"),
        ("tpl-X_res-01_atlas-Q_dseg.nii.gz", b""),
    ):
        (folder / name).write_bytes(content)
    assert templateflow_atlas("X", "S:desc-100", tmp_path).name == "tpl-X_res-01_atlas-S_desc-100_dseg.nii.gz"
    assert templateflow_atlas("X", "S:desc-100:res-02", tmp_path).name.startswith("tpl-X_res-02")
    with pytest.raises(InputError, match=r"Several atlases fit 'S'.*add an entity"):
        templateflow_atlas("X", "S", tmp_path)
    with pytest.raises(InputError, match=r"no downloaded atlas 'Q' for X .*templateflow\.api"):
        templateflow_atlas("X", "Q", tmp_path)
