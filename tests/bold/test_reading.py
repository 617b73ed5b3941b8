"""Streaming NIfTI: equal to nibabel in every storage, and clear about every broken file."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cinebold.bold.reading import BoldImage, load_volume, require_content
from cinebold.errors import InputError

AFFINE = np.array([[-2.0, 0.1, 0, 40], [0.1, 2.5, 0, -30], [0, 0, 3.0, -10], [0, 0, 0, 1]])


def write_series(
    path: Path, dtype: str, *, slope=None, intercept=None, big_endian=False, kind=None
) -> np.ndarray:
    """A random series stored as asked; returns what nibabel reads back."""
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 120, (5, 6, 7, 9)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        raw += rng.normal(size=raw.shape).astype(dtype)
    kind = kind or nibabel.Nifti1Image
    header = kind.header_class(endianness=">" if big_endian else "<")
    header.set_data_dtype(np.dtype(dtype).newbyteorder(">" if big_endian else "<"))
    image = kind(raw, AFFINE, header)
    image.header.set_slope_inter(slope, intercept)
    image.to_filename(path)
    return nibabel.load(path).get_fdata()


def streamed(path: Path, n: int) -> np.ndarray:
    image = BoldImage(path)
    rows = np.concatenate([block.copy() for _, block in image.blocks(n)])
    return np.stack([row.reshape(image.shape3d, order="F") for row in rows], axis=-1)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "uint16", "float32", "float64"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_equals_nibabel(tmp_path, suffix, dtype, big_endian):
    path = tmp_path / f"bold{suffix}"
    expected = write_series(path, dtype, big_endian=big_endian)
    image = BoldImage(path)
    assert (image.shape3d, image.n_volumes) == ((5, 6, 7), 9)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(image.voxel_sizes_mm, nibabel.load(path).header.get_zooms()[:3], rtol=1e-6)
    np.testing.assert_allclose(streamed(path, 4), expected, rtol=1e-6)


@pytest.mark.parametrize("n_per_block", [1, 2, 9, 100])
def test_scaling_and_block_size(tmp_path, n_per_block):
    path = tmp_path / "bold.nii.gz"
    expected = write_series(path, "int16", slope=0.25, intercept=-7.5)
    assert expected.min() == -7.5 + 0.25 * np.round((expected.min() + 7.5) / 0.25)
    np.testing.assert_allclose(streamed(path, n_per_block), expected, rtol=1e-6)


def test_nifti2_and_extension(tmp_path):
    path = tmp_path / "bold.nii.gz"
    expected = write_series(path, "float32", kind=nibabel.Nifti2Image)
    np.testing.assert_array_equal(streamed(path, 4), expected)
    image = nibabel.Nifti1Image(np.float32(expected), AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 100))
    image.to_filename(tmp_path / "extended.nii.gz")
    np.testing.assert_array_equal(streamed(tmp_path / "extended.nii.gz", 4), expected)


def test_name_does_not_tell_compression(tmp_path):
    expected = write_series(tmp_path / "bold.nii", "int16")
    renamed = tmp_path / "renamed.nii.gz"
    renamed.write_bytes((tmp_path / "bold.nii").read_bytes())
    np.testing.assert_array_equal(streamed(renamed, 4), expected)


@pytest.mark.parametrize("share", [0.15, 0.5, 0.95])
def test_truncated_gzip_names_file_and_volume(tmp_path, share):
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 3000, (20, 20, 20, 30)).astype(np.int16)
    whole = tmp_path / "whole.nii.gz"
    nibabel.Nifti1Image(raw, np.eye(4)).to_filename(whole)
    path = tmp_path / "part.nii.gz"
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    n_bytes = 0
    with gzip.open(path) as stream, pytest.raises(EOFError):
        while chunk := stream.read(100):
            n_bytes += len(chunk)
    first_missing = (n_bytes - 352) // (20**3 * 2) + 1
    with pytest.raises(InputError, match=rf"part.nii.gz should hold 30 volumes.* at volume {first_missing} "):
        list(BoldImage(path).blocks(7))


def test_truncated_uncompressed(tmp_path):
    write_series(tmp_path / "bold.nii", "float32")
    path = tmp_path / "part.nii"
    path.write_bytes((tmp_path / "bold.nii").read_bytes()[: 352 + 210 * 4 * 5 + 17])
    with pytest.raises(InputError, match=r"part\.nii.* at volume 6 "):
        list(BoldImage(path).blocks(3))


def test_damaged_checksum_is_an_error(tmp_path):
    path = tmp_path / "bold.nii.gz"
    write_series(path, "int16")
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bold\.nii\.gz"):
        list(BoldImage(path).blocks(3))


def test_not_a_series(tmp_path):
    nibabel.Nifti1Image(np.zeros((3, 3, 3), np.float32), np.eye(4)).to_filename(tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match=r"4 dimensions.*mask\.nii.gz"):
        BoldImage(tmp_path / "mask.nii.gz")
    nibabel.Nifti1Image(np.zeros((3, 3, 3, 2, 2), np.float32), np.eye(4)).to_filename(tmp_path / "five.nii")
    with pytest.raises(InputError, match=r"4 dimensions.*five\.nii"):
        BoldImage(tmp_path / "five.nii")
    nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.complex64), np.eye(4)).to_filename(tmp_path / "complex.nii")
    with pytest.raises(InputError, match="complex64"):
        BoldImage(tmp_path / "complex.nii")


@pytest.mark.parametrize(
    ("code", "said"), [(16384, "float16, which is no type of NIfTI"), (0, ""), (128, "RGB"), (2304, "RGBA")]
)
def test_data_types_without_numbers(tmp_path, code, said):
    """16384 is what some programs write for float16, which NIfTI does not know."""
    write_series(tmp_path / "bold.nii", "int16")
    content = bytearray((tmp_path / "bold.nii").read_bytes())
    content[70:72] = code.to_bytes(2, "little")
    (tmp_path / "bold.nii").write_bytes(content)
    with pytest.raises(InputError, match=rf"bold\.nii.*{said}"):
        BoldImage(tmp_path / "bold.nii")


def test_reading_that_is_given_up_ends_its_thread(tmp_path):
    import threading

    write_series(tmp_path / "bold.nii.gz", "int16")
    before = threading.active_count()
    blocks = BoldImage(tmp_path / "bold.nii.gz").blocks(2)
    next(blocks)
    assert threading.active_count() > before
    blocks.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "content",
    [
        b"not an image",
        b"\x1f\x8bnonsense",
        b"\0" * 400,
        b"",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\0\0", mtime=0),
    ],
    ids=["text", "no gzip", "zeros", "empty", "empty gzip", "short gzip"],
)
def test_not_an_image(tmp_path, content):
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bold\.nii\.gz"):
        BoldImage(path)


def test_annex_pointers_and_missing_files(tmp_path):
    locked = tmp_path / "locked.nii.gz"
    locked.symlink_to("../.git/annex/objects/x/y/MD5E-s1--a.nii.gz/MD5E-s1--a.nii.gz")
    unlocked = tmp_path / "unlocked.nii.gz"
    unlocked.write_text("/annex/objects/MD5E-s279000000--0123456789abcdef.nii.gz\n")
    for path in (locked, unlocked):
        with pytest.raises(InputError, match=f"{path.name} is a git-annex pointer.*datalad get"):
            BoldImage(path)
    with pytest.raises(InputError, match="no file"):
        require_content(tmp_path / "nothing.nii.gz")
    (tmp_path / "dangling.nii").symlink_to("elsewhere.nii")
    with pytest.raises(InputError, match=r"elsewhere\.nii, which does not exist"):
        require_content(tmp_path / "dangling.nii")


def test_load_volume(tmp_path):
    values = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)
    nibabel.Nifti1Image(values[..., None], AFFINE).to_filename(tmp_path / "map.nii.gz")
    loaded, affine = load_volume(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(loaded, values)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-6)
    content = (tmp_path / "map.nii.gz").read_bytes()
    (tmp_path / "part.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"part\.nii.gz"):
        load_volume(tmp_path / "part.nii.gz")
    write_series(tmp_path / "series.nii", "int16")
    with pytest.raises(InputError, match=r"3 dimensions.*series\.nii"):
        load_volume(tmp_path / "series.nii")


def test_real_series(shared_data):
    path = shared_data / "haxby" / "bold.nii.gz"
    expected = nibabel.load(path).get_fdata()
    np.testing.assert_allclose(streamed(path, 100), expected, rtol=1e-6)
