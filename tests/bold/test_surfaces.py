"""Surfaces and grayordinates: series against nibabel's own reading, maps that go out and come back."""

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, SeriesAxis

from cinebold.bold.cifti import CiftiGeometry, CiftiSource
from cinebold.bold.confounds import Confounds
from cinebold.bold.geometry import VolumeGeometry
from cinebold.bold.gifti import read_gifti_header, stream_gifti, write_gifti
from cinebold.bold.maps import geometry_of_map, load_geometry, map_values, n_maps
from cinebold.bold.preparation import prepare_responses
from cinebold.bold.surfaces import SurfaceGeometry, SurfaceSource
from cinebold.errors import InputError

N_VOLUMES = 150
N_VERTICES = (42, 40)


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    """(n_volumes, n_vertices of both), a vertex without values in each hemisphere."""
    values = np.random.default_rng(0).normal(100, 1, (N_VOLUMES, sum(N_VERTICES))).astype(np.float32)
    values[:, [3, 50]] = np.nan
    return values


def write_pair(folder, series, encoding="GIFTI_ENCODING_B64GZ", in_one_array=False):
    halves = np.split(series, [N_VERTICES[0]], axis=1)
    for half, hemisphere, structure in zip(halves, "LR", ("CortexLeft", "CortexRight"), strict=True):
        arrays = [half.T] if in_one_array else list(half)
        image = nibabel.gifti.GiftiImage(
            meta=nibabel.gifti.GiftiMetaData({"AnatomicalStructurePrimary": structure}),
            darrays=[
                nibabel.gifti.GiftiDataArray(
                    np.array(values, order="C"), "NIFTI_INTENT_TIME_SERIES", "NIFTI_TYPE_FLOAT32", encoding
                )
                for values in arrays
            ],
        )
        nibabel.save(image, folder / f"sub-1_hemi-{hemisphere}_space-fsaverage3_bold.func.gii")
    return [folder / f"sub-1_hemi-{hemisphere}_space-fsaverage3_bold.func.gii" for hemisphere in "LR"]


def cifti_axis() -> BrainModelAxis:
    cortex = np.ones(40, bool)
    cortex[5:9] = False
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    return (
        BrainModelAxis.from_mask(cortex, name="CortexLeft")
        + BrainModelAxis.from_mask(cortex, name="CortexRight")
        + BrainModelAxis.from_mask(np.ones((2, 3, 2), bool), name="ThalamusLeft", affine=affine)
    )


def read_all(source, n_rows):
    parts = [(start, rows.copy()) for start, rows in source.blocks(n_rows)]
    assert [start for start, _ in parts] == list(np.cumsum([0] + [len(rows) for _, rows in parts[:-1]]))
    assert max(len(rows) for _, rows in parts) <= n_rows
    return np.concatenate([rows for _, rows in parts])


@pytest.mark.parametrize(
    "encoding", ["GIFTI_ENCODING_B64GZ", "GIFTI_ENCODING_B64BIN", "GIFTI_ENCODING_ASCII"]
)
@pytest.mark.parametrize("in_one_array", [False, True])
def test_gifti_series_are_what_nibabel_reads(tmp_path, series, encoding, in_one_array):
    left, right = write_pair(tmp_path, series, encoding, in_one_array)
    geometry = SurfaceGeometry.of_files(left, right)
    source = SurfaceSource(left, right, geometry)
    assert (source.n_volumes, geometry.n_vertices) == (N_VOLUMES, N_VERTICES)
    halves = [np.stack([np.asarray(d.data) for d in nibabel.load(path).darrays]) for path in (left, right)]
    halves = [half[0].T for half in halves] if in_one_array else halves
    np.testing.assert_array_equal(read_all(source, 7), np.concatenate(halves, axis=1))


def test_a_cortex_mask_chooses_vertices_and_must_fit(tmp_path, series):
    left, right = write_pair(tmp_path, series)
    inside = np.ones(sum(N_VERTICES), bool)
    inside[[0, 60]] = False
    masks = [tmp_path / f"hemi-{hemisphere}_desc-cortex_mask.label.gii" for hemisphere in "LR"]
    for path, half in zip(masks, np.split(inside, [N_VERTICES[0]]), strict=True):
        array = nibabel.gifti.GiftiDataArray(half.astype(np.int32), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32")
        nibabel.save(nibabel.gifti.GiftiImage(darrays=[array]), path)
    geometry = SurfaceGeometry.of_files(left, right, masks)
    np.testing.assert_array_equal(read_all(SurfaceSource(left, right, geometry), 16), series[:, inside])
    with pytest.raises(InputError, match=r"has 40 vertices, but .* has 42"):
        SurfaceGeometry.of_files(left, right, masks[::-1])
    with pytest.raises(InputError, match="says of itself that it is CortexRight"):
        SurfaceSource(right, left, geometry.with_kept(inside))


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_cifti_series_are_what_nibabel_reads(tmp_path, dtype):
    axis = cifti_axis()
    values = np.random.default_rng(1).normal(100, 9, (N_VOLUMES, len(axis))).astype(dtype)
    path = tmp_path / "bold.dtseries.nii"
    image = nibabel.Cifti2Image(values, header=(SeriesAxis(0, 1.5, N_VOLUMES), axis))
    image.nifti_header.set_data_dtype(dtype)
    nibabel.save(image, path)
    kept = np.arange(len(axis)) % 3 > 0
    source = CiftiSource(path, CiftiGeometry(kept, axis))
    expected = nibabel.load(path).get_fdata()[:, kept]
    np.testing.assert_allclose(read_all(source, 9), expected, rtol=1e-6)
    np.testing.assert_allclose(source.read_targets(5, 23), expected[:, 5:23], rtol=1e-6)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not copied or downloaded whole"):
        CiftiSource(path, CiftiGeometry(kept, axis))


def geometries():
    random = np.random.default_rng(2)
    volume = VolumeGeometry(random.random((4, 5, 6)) > 0.5, np.diag([3.0, 3.0, 3.0, 1.0]))
    surface = SurfaceGeometry(random.random(sum(N_VERTICES)) > 0.3, N_VERTICES)
    cifti = CiftiGeometry(random.random(len(cifti_axis())) > 0.3, cifti_axis())
    return {one.map_extension: one for one in (volume, surface, cifti)}


@pytest.mark.parametrize("extension", [".nii.gz", ".func.gii", ".dscalar.nii"])
def test_maps_go_out_and_come_back_in_every_geometry(tmp_path, extension):
    geometry = geometries()[extension]
    values = np.random.default_rng(3).normal(size=(3, geometry.n_targets)).astype(np.float32)
    single = geometry.save_map(tmp_path / "stat-r_statmap", values[0])
    several = geometry.save_map(tmp_path / "stat-weight_desc-a_statmap", values)
    assert all(path.name.endswith(extension) for path in (*single, *several))
    read = map_values(single[0])
    np.testing.assert_array_equal(read[geometry.kept], values[0])
    assert np.isnan(read[~geometry.kept]).all()
    assert n_maps(several[0]) == 3
    np.testing.assert_array_equal(map_values(several[0], 2)[geometry.kept], values[2])
    whole = geometry_of_map(single[0])
    assert whole.is_like(geometry) and whole.kept.all()
    restored = load_geometry(geometry.save(tmp_path / "mask"))
    np.testing.assert_array_equal(restored.kept, geometry.kept)
    assert restored.is_like(geometry) and restored.describe() == geometry.describe()
    assert not any(
        geometry.is_like(other) for other in geometries().values() if type(other) is not type(geometry)
    )
    again = geometry.save_map(tmp_path / "again" / "stat-weight_desc-a_statmap", values)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in several]


def test_maps_say_of_which_structure_they_are(tmp_path):
    known = geometries()
    left, right = known[".func.gii"].save_map(
        tmp_path / "a_space-fsaverage3_b", np.ones(known[".func.gii"].n_targets)
    )
    assert [left.name, right.name] == [f"a_hemi-{h}_space-fsaverage3_b.func.gii" for h in "LR"]
    for path, structure in ((left, "CortexLeft"), (right, "CortexRight")):
        image = nibabel.load(path)
        assert image.meta["AnatomicalStructurePrimary"] == structure
        assert image.darrays[0].intent == nibabel.nifti1.intent_codes["NIFTI_INTENT_NONE"]
        assert read_gifti_header(path).structure == structure
    (path,) = known[".dscalar.nii"].save_map(
        tmp_path / "c", np.ones((2, known[".dscalar.nii"].n_targets)), ["x", "y"]
    )
    image = nibabel.load(path)
    assert list(image.header.get_axis(0).name) == ["x", "y"]
    assert image.header.get_axis(1) == cifti_axis()
    assert image.nifti_header.get_intent()[0] == "ConnDenseScalar"


def test_responses_of_surfaces_are_cleaned_as_voxels_are(tmp_path, series):
    """The stream through `prepare_responses` against a z-score by numpy; vertices without values are NaN."""
    left, right = write_pair(tmp_path, series)
    keep = np.arange(N_VOLUMES) >= 2
    confounds = Confounds(values=np.zeros((N_VOLUMES, 0)), names=(), keep=keep, source=left, strategy="none")
    summary = prepare_responses(
        SurfaceSource(left, right, SurfaceGeometry.of_files(left, right)),
        confounds,
        tr_s=1.0,
        high_pass_hz=None,
        out_npy=tmp_path / "responses.npy",
    )
    assert (summary["n_targets"], summary["n_constant"]) == (sum(N_VERTICES), 2)
    kept = series[keep].astype(float)
    expected = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    np.testing.assert_allclose(np.load(tmp_path / "responses.npy")[keep], expected, atol=2e-4)


def test_damaged_series_are_named(tmp_path, series):
    left, right = write_pair(tmp_path, series)
    geometry = SurfaceGeometry.of_files(left, right)
    whole = left.read_bytes()
    left.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"hemi-L.*at volume \d+"):
        read_all(SurfaceSource(left, right, geometry), 16)
    write_gifti(left, series[:90, : N_VERTICES[0]], "L", [""] * 90)
    with pytest.raises(InputError, match=r"has 90 volumes but .* has 150"):
        SurfaceSource(left, right, geometry)
    left.write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not a GIFTI file"):
        SurfaceSource(left, right, geometry)
    with pytest.raises(InputError, match="cannot be read as a CIFTI-2 file"):
        CiftiGeometry.of_file(left)


def test_arrays_in_external_files_are_read(tmp_path, series):
    """One array of all volumes, raw beside the XML, as FreeSurfer and Workbench can write it."""
    values = np.nan_to_num(series[:, : N_VERTICES[0]]).T  # (n_vertices, n_volumes), row-major
    (tmp_path / "data.bin").write_bytes(b"head" + values.astype("<f4").tobytes())
    path = tmp_path / "sub-1_hemi-L_space-fsnative_bold.func.gii"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<GIFTI Version="1.0" NumberOfDataArrays="1">\n<MetaData/>\n'
        '<LabelTable/>\n<DataArray Intent="NIFTI_INTENT_TIME_SERIES" DataType="NIFTI_TYPE_FLOAT32"\n'
        f'ArrayIndexingOrder="RowMajorOrder" Dimensionality="2" Dim0="{N_VERTICES[0]}" Dim1="{N_VOLUMES}"\n'
        'Encoding="ExternalFileBinary" Endian="LittleEndian" ExternalFileName="data.bin" ExternalFileOffset="4">\n'
        "<MetaData/>\n<Data></Data>\n</DataArray>\n</GIFTI>\n"
    )
    assert read_gifti_header(path).n_volumes == N_VOLUMES
    np.testing.assert_array_equal(np.concatenate(list(stream_gifti(path))), values)
