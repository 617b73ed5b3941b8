"""Statistics on a device against those of numpy; the device's name and the exactness of its products."""

import numpy as np
import pytest
import torch

from cinebold.encoding.gpu.device import Downloads, checked_device, eigh, exact_products, to_device
from cinebold.encoding.gpu.statistics import accumulate_on, as_arrays, centred_on_device
from cinebold.encoding.statistics import accumulate, centred
from cinebold.errors import SettingError


def some_rows(n_samples=5000, offset=0.0, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_samples, 6)) + offset / 1000
    y = x @ rng.normal(size=(6, 9)) + rng.normal(size=(n_samples, 9)) + offset
    return x.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_equal_those_of_numpy(torch_device, dtype, offset):
    # More rows than are multiplied at once, and means like those of raw BOLD.
    x, y = some_rows(offset=offset)
    expected = accumulate(x, y)
    found = as_arrays(accumulate_on(torch_device, x, y, dtype=dtype))
    assert found.n == expected.n
    for name in ("sum_x", "sum_y", "xx", "xy", "yy"):
        assert getattr(found, name).dtype == np.float64
        np.testing.assert_allclose(
            getattr(found, name),
            getattr(expected, name),
            rtol=1e-12,
            atol=2e-2 if dtype is np.float32 else 1e-7,
        )
    own = centred([expected])
    cross = as_arrays(centred_on_device([accumulate_on(torch_device, x, y, dtype=dtype)])).cross
    scale = np.sqrt(np.outer(np.diag(own.gram), own.total))
    assert np.abs((cross - own.cross) / scale).max() < (3e-7 if dtype is np.float32 else 1e-9)


def test_a_known_gram_matrix_is_kept_and_runs_add_up(torch_device):
    x, y = some_rows(60, dtype=np.float64)
    whole = accumulate_on(torch_device, x, y, dtype=np.float64)
    parts = [
        accumulate_on(torch_device, x[own], y[own], dtype=np.float64) for own in (slice(20), slice(20, 60))
    ]
    np.testing.assert_allclose(as_arrays(parts[0] + parts[1]).xy, as_arrays(whole).xy, atol=1e-10)
    assert accumulate_on(torch_device, x, y, whole.xx).xx is whole.xx
    expected = centred([accumulate(x[:20], y[:20]), accumulate(x[20:], y[20:])])
    found = as_arrays(centred_on_device(parts))
    for name in ("gram", "cross", "total", "mean_x", "mean_y"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-10)


def test_a_device_that_is_not_there_is_refused_in_one_sentence():
    n_devices = torch.cuda.device_count()
    with pytest.raises(SettingError, match=f"finds {n_devices} CUDA device"):
        checked_device(f"cuda:{n_devices}")
    for name in ("gpu", "meta"):
        with pytest.raises(SettingError, match="choose 'cpu', 'cuda'"):
            checked_device(name)
    assert checked_device("cpu").type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_gpu_is_refused():
    with pytest.raises(SettingError, match=r"'cuda' was asked for, but torch .* finds 0 CUDA devices"):
        accumulate_on("cuda", *some_rows(10))


@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
def test_products_are_exact_inside_and_the_settings_come_back(asked):
    before = torch.get_float32_matmul_precision()
    cuda = torch.backends.cuda.matmul
    try:
        torch.set_float32_matmul_precision(asked)
        reduced = cuda.allow_bf16_reduced_precision_reduction
        with pytest.raises(ZeroDivisionError), exact_products():
            assert not cuda.allow_tf32
            assert not cuda.allow_bf16_reduced_precision_reduction
            raise ZeroDivisionError
        assert torch.get_float32_matmul_precision() == asked
        assert cuda.allow_tf32 == (asked != "highest")
        assert cuda.allow_bf16_reduced_precision_reduction == reduced
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_are_exact_where_the_newer_switches_were_used():
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has only the older switch")
    try:
        matmul.fp32_precision = "tf32"
        with exact_products():
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("failure", ["raises", "is not finite"])
def test_a_decomposition_that_fails_on_the_device_is_done_by_numpy(monkeypatch, torch_device, failure):
    matrix = np.cov(np.random.default_rng(0).normal(size=(5, 20)))
    there = torch.from_numpy(matrix).to(torch_device)

    def broken(tensor):
        if failure == "raises":
            raise torch.linalg.LinAlgError("the algorithm failed to converge")
        return tensor[0] * np.nan, tensor * np.nan

    monkeypatch.setattr(torch.linalg, "eigh", broken)
    values, vectors = eigh(there)
    assert values.device == there.device
    np.testing.assert_allclose(((vectors * values) @ vectors.T).cpu().numpy(), matrix, atol=1e-12)


def test_values_go_to_the_device_and_come_back_in_order(torch_device):
    values = np.arange(40, dtype=np.float32).reshape(8, 5)
    values.setflags(write=False)
    device = checked_device(torch_device)
    found = np.zeros((5, 4))
    with Downloads(device) as results:
        for column in range(5):
            results.into(to_device(values[::-2, column], device, torch.float64), found[column])
    np.testing.assert_array_equal(found, values[::-2].T)
    assert to_device(np.arange(3), device).dtype == torch.float64
