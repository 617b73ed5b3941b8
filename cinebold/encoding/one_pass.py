"""X'Y, and sums and sums of squares of Y, from one reading of Y, compiled for processors with wide vectors.

numpy's product leaves Y in memory, and each further sum reads it again. Here 256 rows of 256 columns of Y are copied
into the second-level cache, squared on the way, and multiplied there, while the next are on their way. Products are
single precision, fused and summed over 256 rows at a time, which keeps the digits of longer sums.

Import it only where it is needed: numba takes its time.
"""

import numba
import numpy as np

from cinebold.encoding.voxel_vectors import (
    aligned,
    ask_for,
    constant,
    everywhere,
    fma,
    load,
    load_from,
    n_lanes,
    store,
)

_ROWS = 256
_LANES = n_lanes(np.float32)
_STRIPS = 8
#: So many columns of X are multiplied at once: their sums and what they need fill the 32 registers of AVX-512.
_COLUMNS = 12
#: Numbers in a cache line.
_LINE = 16

_compiled = numba.njit(nogil=True, error_model="numpy", cache=False)


def panels_of(x: np.ndarray) -> np.ndarray:
    """The columns of X (n_samples, n_features) in panels of twelve, as they are multiplied; the same for all of Y."""
    n_features = x.shape[1] + 1
    panels = aligned((-(-n_features // _COLUMNS), len(x), _COLUMNS), np.float32)
    for panel, first in zip(panels, range(0, n_features, _COLUMNS), strict=True):
        own = x[:, first : first + _COLUMNS]
        panel[:, : own.shape[1]] = own
    # A column of ones gives the sums of Y.
    panels[-1, :, (n_features - 1) % _COLUMNS] = 1.0
    return panels


def products_in_one_pass(
    x: np.ndarray, y: np.ndarray, panels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X'Y (n_features, n_targets), sums of Y (n_targets,) and sums of its squares (n_targets,), all float64.

    Parameters
    ----------
    x : (n_samples, n_features)
    y : (n_samples, n_targets) float32, with neighbours in a row beside each other in memory (`serves`)
    panels : `panels_of(x)`, where they have been made
    """
    panels = panels_of(x) if panels is None else panels
    sums = np.empty((x.shape[1] + 1, y.shape[1]))
    squares = np.empty(y.shape[1])
    packed = aligned((_STRIPS, _ROWS, _LANES), np.float32)
    products = aligned((len(panels), _STRIPS, _COLUMNS, _LANES), np.float32)
    _multiply(panels, y, packed, products, aligned((_STRIPS * _LANES,), np.float32), sums, squares)
    return sums[:-1], sums[-1], squares


def serves(y: np.ndarray) -> bool:
    """Whether `products_in_one_pass` can read Y, and this processor has the registers that make it fast."""
    rows, columns = y.strides
    return y.dtype == np.float32 and columns == y.itemsize and rows % y.itemsize == 0 and _has_wide_vectors()


def _has_wide_vectors() -> bool:
    from llvmlite.binding import get_host_cpu_features

    return bool(get_host_cpu_features().get("avx512f", False))


@_compiled
def _multiply(panels, y, packed, products, of_rows, sums, squares):  # type: ignore[no-untyped-def]
    n_rows, n_targets = y.shape
    row_length = y.strides[0] // y.itemsize
    for left in range(0, n_targets, _STRIPS * _LANES):
        width = min(_STRIPS * _LANES, n_targets - left)
        n_strips = (width + _LANES - 1) // _LANES
        for vector in range(len(panels) * _STRIPS * _COLUMNS):
            store(products, vector, constant(products, 0.0))
        squares[left : left + width] = 0.0
        for top in range(0, n_rows, _ROWS):
            n_here = min(_ROWS, n_rows - top)
            for strip in range(_STRIPS):
                store(of_rows, strip, constant(of_rows, 0.0))
            _pack(y, top, n_here, left, width, packed, of_rows)
            for column in range(width):
                squares[left + column] += of_rows[column]
            coming = (
                (top + _ROWS) * row_length + left
                if top + _ROWS < n_rows
                else min(left + width, n_targets - 1)
            )
            for panel in range(len(panels)):
                for strip in range(n_strips):
                    place = (panel * _STRIPS + strip) * _COLUMNS
                    x = (panel * n_rows + top) * _COLUMNS
                    # The first two panels ask for what is packed next, a cache line a row.
                    line = (panel * n_strips + strip) * _LINE
                    stride = row_length if line < width else 0
                    _multiply_strip(
                        panels, x, n_here, packed, strip * _ROWS, products, place, y, coming + line, stride
                    )
        for row in range(len(sums)):
            for strip in range(n_strips):
                own = products[row // _COLUMNS, strip, row % _COLUMNS]
                first = left + strip * _LANES
                for lane in range(min(_LANES, n_targets - first)):
                    sums[row, first + lane] = own[lane]


@_compiled
def _pack(y, top, n_rows, left, width, packed, of_rows):  # type: ignore[no-untyped-def]
    """Copy some rows strip by strip, and add up their squares; what the last strip lacks becomes no result."""
    row_length = y.strides[0] // y.itemsize
    n_whole = width // _LANES
    for row in range(n_rows):
        offset = (top + row) * row_length + left
        for strip in range(n_whole):
            values = load_from(y, offset + strip * _LANES)
            store(packed, strip * _ROWS + row, values)
            store(of_rows, strip, fma(values, values, load(of_rows, strip)))
    n_left = width - n_whole * _LANES
    for row in range(n_rows if n_left else 0):
        for lane in range(n_left):
            packed[n_whole, row, lane] = y[top + row, left + n_whole * _LANES + lane]
        values = load(packed, n_whole * _ROWS + row)
        store(of_rows, n_whole, fma(values, values, load(of_rows, n_whole)))


@_compiled
def _multiply_strip(panels, x, n_rows, packed, v, products, place, y, coming, stride):  # type: ignore[no-untyped-def]
    """The products of twelve columns of X with 32 of Y; `x` counts numbers, `v` and `place` vectors."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = constant(products, 0.0)
    for row in range(n_rows):
        ask_for(y, coming + row * stride)
        values = load(packed, v + row)
        at = x + row * _COLUMNS
        s0 = fma(values, everywhere(panels, at), s0)
        s1 = fma(values, everywhere(panels, at + 1), s1)
        s2 = fma(values, everywhere(panels, at + 2), s2)
        s3 = fma(values, everywhere(panels, at + 3), s3)
        s4 = fma(values, everywhere(panels, at + 4), s4)
        s5 = fma(values, everywhere(panels, at + 5), s5)
        s6 = fma(values, everywhere(panels, at + 6), s6)
        s7 = fma(values, everywhere(panels, at + 7), s7)
        s8 = fma(values, everywhere(panels, at + 8), s8)
        s9 = fma(values, everywhere(panels, at + 9), s9)
        s10 = fma(values, everywhere(panels, at + 10), s10)
        s11 = fma(values, everywhere(panels, at + 11), s11)
    store(products, place, load(products, place) + s0)
    store(products, place + 1, load(products, place + 1) + s1)
    store(products, place + 2, load(products, place + 2) + s2)
    store(products, place + 3, load(products, place + 3) + s3)
    store(products, place + 4, load(products, place + 4) + s4)
    store(products, place + 5, load(products, place + 5) + s5)
    store(products, place + 6, load(products, place + 6) + s6)
    store(products, place + 7, load(products, place + 7) + s7)
    store(products, place + 8, load(products, place + 8) + s8)
    store(products, place + 9, load(products, place + 9) + s9)
    store(products, place + 10, load(products, place + 10) + s10)
    store(products, place + 11, load(products, place + 11) + s11)
