"""Incremental components against scikit-learn's PCA of the whole matrix, and features that they reduce."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from tiny_network import Tiny, TinyParameters

from cinebold.errors import InputError, SettingError
from cinebold.features.__main__ import main
from cinebold.features.basis import read_basis
from cinebold.features.basis_fit import fit_basis
from cinebold.features.extraction import extract_features
from cinebold.features.nodes import layers_of_any_size
from cinebold.features.reduction import ReducedNetwork, reduced
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.features.rows import PartialRows
from cinebold.features.store import ensure_features, feature_key, read_features
from cinebold.files import file_sha256

N_INPUTS, N_PLANTED = 40, 3
MIXING, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N_INPUTS, N_PLANTED)))
CENTRE = np.random.default_rng(1).normal(size=N_INPUTS) + 5


class Planted(Tiny):
    """Numbers of three dimensions in forty, far from zero, with a little noise that the window fixes."""

    def __init__(self, hop_s: float = 0.02, bin_s: float = 0.0, noise: float = 0.003, offset: float = 0.0):
        super().__init__(TinyParameters(hop_s, bin_s))
        self.noise, self.offset = noise, offset

    def values(self, clips: Sequence[Sequence[Any]]) -> np.ndarray:
        latent = super().values(clips).astype(float)
        planted = latent[:, :N_PLANTED] * [30, 10, 4] @ MIXING.T
        noise = self.noise * np.sin(1e4 * latent @ np.arange(6 * N_INPUTS).reshape(6, -1))
        return (CENTRE + self.offset + planted + noise).astype(np.float32)

    def column_names(self) -> tuple[str, ...]:
        return tuple(f"planted {index}" for index in range(N_INPUTS))


@pytest.fixture
def films(film) -> tuple[Path, Path]:
    """Two films of 2.4 s."""
    y, x = np.mgrid[:90, :160]
    t = np.arange(60)[:, None, None]
    written = []
    for name, speed in (("a.mp4", 0.3), ("b.mp4", 0.13)):
        waves = [127 + 100 * np.sin(x / 9 + t * speed + k) * np.cos(y / 13 - t * speed * k) for k in range(3)]
        written.append(film(name, np.stack(waves, axis=-1).astype(np.uint8)))
    return written[0], written[1]


@pytest.fixture
def kept(monkeypatch) -> list[bytes]:
    """The partial files of finished series, as they were before they were deleted."""
    found = []
    discard = PartialRows.discard
    monkeypatch.setattr(
        PartialRows, "discard", lambda rows: (found.append(rows.path.read_bytes()), discard(rows))
    )
    return found


@pytest.mark.parametrize("bin_s", [0.0, 0.03])
def test_components_are_those_of_the_whole_matrix(films, tmp_path, bin_s):
    from sklearn.decomposition import PCA

    whole = [extract_features(film, {"": Planted(bin_s=bin_s)})[""].values for film in films]
    matrix = np.concatenate(whole).astype(float)
    expected = PCA(4).fit(matrix)
    basis = fit_basis(films, Planted(bin_s=bin_s), 4, tmp_path / "basis.safetensors")
    assert basis.n_windows == len(matrix) > 2 * 64  # several batches
    assert basis.films == tuple(sorted(map(file_sha256, films)))
    assert basis.extractor["parameters"] == {"hop_s": 0.02, "bin_s": bin_s}
    np.testing.assert_allclose(basis.mean, matrix.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(4), atol=1e-6)
    # The planted ones are found to the last digits, and noise beside them.
    np.testing.assert_allclose(
        np.abs(np.sum(basis.components * expected.components_, axis=1))[:3], 1, atol=1e-6
    )
    angles = np.linalg.svd(basis.components[:3] @ MIXING, compute_uv=False)
    np.testing.assert_allclose(angles, 1, atol=1e-4)
    strongest = np.abs(basis.components).argmax(axis=1)
    assert (basis.components[np.arange(4), strongest] > 0).all()
    np.testing.assert_allclose(
        basis.explained_variance_ratio[:3], expected.explained_variance_ratio_[:3], rtol=1e-4
    )
    # What is stored is what the whole matrix would have been projected to.
    one = ReducedNetwork(Planted(bin_s=bin_s), basis)
    ensure_features(films[0], {tmp_path / "a.h5": one})
    series = read_features(tmp_path / "a.h5")
    scores = (whole[0].astype(float) - basis.mean) @ basis.components.T
    np.testing.assert_allclose(series.values, scores, atol=1e-4)
    assert series.names == tuple(f"tiny ipca 000{index}" for index in range(4))
    assert series.provenance["basis"] == {"sha256": file_sha256(basis.path), "n_components": 4}
    assert series.provenance["parameters"]["hop_s"] == 0.02


def test_films_names_order_and_threads_do_not_change_a_byte(films, tmp_path):
    import torch

    n_threads = torch.get_num_threads()
    first = fit_basis(films, Planted(), 5, tmp_path / "1.safetensors")
    renamed = shutil.copy(films[0], tmp_path / "z.mp4")
    with threadpool_limits(2, user_api="blas"):
        again = fit_basis([films[1], renamed], Planted(), 5, tmp_path / "2.safetensors", n_threads=2)
        scores = again.apply(np.eye(7, N_INPUTS, dtype=np.float32))
    assert first.path.read_bytes() == again.path.read_bytes() and first.sha256 == again.sha256
    assert str(tmp_path).encode() not in first.path.read_bytes()
    # A row does not depend on the rows beside it.
    for index in range(7):
        alone = first.apply(np.eye(7, N_INPUTS, dtype=np.float32)[index : index + 1])
        assert alone.tobytes() == scores[index].tobytes()
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("bin_s", [0.0, 0.25])
def test_only_scores_are_kept_and_a_killed_extraction_goes_on(films, tmp_path, kept, bin_s):
    def network() -> ReducedNetwork:
        return reduced(Planted(0.1, bin_s), basis.path)

    basis = fit_basis(films[:1], Planted(0.1, bin_s), 2, tmp_path / "basis.safetensors")
    ensure_features(films[1], {tmp_path / "whole" / "a.h5": network()})
    whole = (tmp_path / "whole" / "a.h5").read_bytes()
    (rows,) = kept
    assert b'"n_columns": 2' in rows and len(rows) < 24 * N_INPUTS * 4
    target = tmp_path / "again" / "a.h5"
    target.parent.mkdir()
    target.with_name(".a.h5.partial").write_bytes(rows[: len(rows) // 2])
    again = network()
    ensure_features(films[1], {target: again})
    assert target.read_bytes() == whole
    assert 0 < again.network.n_windows < 24
    # Another basis makes other features.
    other = fit_basis(films, Planted(0.1, bin_s), 2, tmp_path / "other.safetensors")
    keys = {feature_key("film", one) for one in (network(), reduced(Planted(0.1, bin_s), other.path))}
    assert len(keys | {feature_key("film", Planted(0.1, bin_s))}) == 3


def test_directions_that_are_not_there_are_left_out(films, tmp_path):
    with pytest.warns(UserWarning, match="3 independent directions: the basis has as many components, not 6"):
        basis = fit_basis(films, Planted(noise=0.0), 6, tmp_path / "basis.safetensors")
    assert basis.n_components == 3 and basis.components.shape == (3, N_INPUTS)
    assert sum(basis.explained_variance_ratio) == pytest.approx(1, abs=1e-6)


def test_a_large_layer_is_reduced_without_ever_being_stored(films, tmp_path, capsys):
    given = {"layer": "conv5", "n_projected": 0, "hop_s": 0.2, "rate_hz": 5.0}
    with pytest.raises(SettingError, match=r"43264 numbers a window.*or give a basis"):
        validate_parameters("alexnet", given)
    validate_parameters("alexnet", given, with_basis=True)
    out, basis = tmp_path / "a.h5", tmp_path / "basis.safetensors"
    network = ["--extractor", "alexnet", "--random-weights", "--nprocs", "1"]
    network += [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    fit = ["fit-basis", *network, "--films", *map(str, films), "--out", str(basis)]
    assert main([*fit, "--n-components", "3"]) == 0
    assert "3 components of 43,264 features, " in (said := capsys.readouterr()).out
    assert "of 24 windows of 2 films" in said.out and "RANDOM weights" in said.err
    assert main(["extract", str(films[0]), *network, "--out", str(out), "--basis", str(basis)]) == 0
    with layers_of_any_size():
        whole = create_extractor("alexnet", given, random_weights=True)
    values = extract_features(films[0], {"": whole})[""].values
    found = read_basis(basis)
    expected = (values.astype(float) - found.mean) @ found.components.T.astype(float)
    np.testing.assert_allclose(
        read_features(out).values, expected, atol=1e-4 * np.sqrt(found.explained_variance[0])
    )
    capsys.readouterr()
    for change, sentence in (
        (["--n-components", "25"], "25 components are asked for, and the films have 24 windows"),
        (["--n-components", "0"], "from 1 to as many components as a window has numbers, which are 43264"),
        (
            ["--n-components", "3", "--mem-mb", "100"],
            r"about 180 MB, and 100 MB may be used: set n_projected",
        ),
        (["--n-components", "3", "--out", "a.npz"], "file .safetensors; found a.npz"),
        (["--n-components", "3", "--films", str(films[0]), str(films[0])], "counts each film once"),
    ):
        assert main([*fit, *change]) == 2
        assert sentence in capsys.readouterr().err


def test_a_basis_of_other_features_is_refused(films, tmp_path):
    basis = fit_basis(films[:1], Planted(0.1), 2, tmp_path / "basis.safetensors")
    with pytest.raises(InputError, match=r"parameters\.hop_s is 0\.1 there and 0\.2 here; fit another"):
        reduced(Planted(0.2), basis.path)
    with pytest.raises(InputError, match="extractor is 'tiny' there and 'alexnet' here"):
        create_extractor("alexnet", random_weights=True, basis=basis.path)
    with pytest.raises(SettingError, match="low_level runs none: leave the basis out"):
        create_extractor("low_level", basis=basis.path)
    with pytest.raises(InputError, match="expected a basis of features, found no such file"):
        read_basis(tmp_path / "none.safetensors")
    content = basis.path.read_bytes()
    weights = tmp_path / "weights.safetensors"
    for wrong in (b"", b"no basis", content[:-5], content.replace(b"cinebold_basis", b"cinebold_other")):
        weights.write_bytes(wrong)
        with pytest.raises(InputError, match=r"weights\.safetensors: expected a basis of features, found"):
            read_basis(weights)


def test_numbers_that_nothing_can_be_learned_from(films, film, tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4: the network gives numbers that are not finite"):
        fit_basis(films[:1], Planted(offset=np.nan), 2, tmp_path / "basis.safetensors")
    still = film("still.mp4", np.full((30, 90, 160, 3), 99, np.uint8))
    with pytest.raises(InputError, match="all windows of these films are the same"):
        fit_basis([still], Planted(), 2, tmp_path / "basis.safetensors")
    assert not (tmp_path / "basis.safetensors").exists()
