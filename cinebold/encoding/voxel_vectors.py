"""Vectors of voxels in compiled code: a value holds one number of each of 16 (float64) or 32 (float32) voxels.

Numba leaves it to LLVM to find loops that fit vector registers, and it finds few where arrays may overlap. Here the
vector is a type of its own: `load` and `store` move 128 bytes, `+ - *`, `fma` and `choose_greater` work on all voxels,
and LLVM cuts it into the registers of the processor at hand. No number of one voxel ever meets that of another, and
nothing is reordered, so that a voxel's result does not depend on its companions.

Import it only where code is compiled: numba takes its time.
"""

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model
from numba.np import arrayobj

_BYTES = 128


class VectorType(types.Type):
    """One number of each voxel of a packet."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.n_lanes = _BYTES * 8 // dtype.bitwidth
        scalar = ir.DoubleType() if dtype is types.float64 else ir.FloatType()
        self.llvm = ir.VectorType(scalar, self.n_lanes)
        super().__init__(name=f"voxels({dtype} x {self.n_lanes})")


_VECTORS = {dtype: VectorType(dtype) for dtype in (types.float32, types.float64)}


def n_lanes(dtype: Any) -> int:
    """How many voxels are in a vector of `dtype`."""
    return _BYTES // np.dtype(dtype).itemsize


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that begin at a vector's boundary, as `load` and `store` want them."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(n_bytes + _BYTES, dtype=np.uint8)
    start = -room.ctypes.data % _BYTES
    return room[start : start + n_bytes].view(dtype).reshape(shape)


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:  # type: ignore[no-untyped-def]
        super().__init__(manager, kind, kind.llvm)


def _element(context, builder, kind, array, index):  # type: ignore[no-untyped-def]
    return builder.gep(arrayobj.make_array(kind)(context, builder, array).data, [index])


def _place(context, builder, kind, array, index, vector):  # type: ignore[no-untyped-def]
    first = builder.mul(index, ir.Constant(index.type, vector.n_lanes))
    return builder.bitcast(_element(context, builder, kind, array, first), vector.llvm.as_pointer())


def _spread(builder, number, vector):  # type: ignore[no-untyped-def]
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.n_lanes), [0] * vector.n_lanes)
    return builder.shuffle_vector(first, undefined, mask)


@intrinsic
def load(typing, array, index):  # type: ignore[no-untyped-def]
    """Vector number `index` of a contiguous array."""
    vector = _VECTORS[array.dtype]

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        loaded = builder.load(_place(context, builder, call.args[0], *values, vector))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return vector(array, types.intp), code


@intrinsic
def load_from(typing, array, offset):  # type: ignore[no-untyped-def]
    """The vector that begins `offset` numbers after an array's first, whatever its strides are."""
    vector = _VECTORS[array.dtype]

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        place = _element(context, builder, call.args[0], *values)
        loaded = builder.load(builder.bitcast(place, vector.llvm.as_pointer()))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return vector(array, types.intp), code


@intrinsic
def ask_for(typing, array, offset):  # type: ignore[no-untyped-def]
    """Have the number `offset` after an array's first brought nearer; no harm where there is none."""

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        name = "llvm.prefetch.p0"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        place = builder.bitcast(_element(context, builder, call.args[0], *values), byte)
        # To read, to be kept in the second-level cache, data.
        builder.call(function, [place, *(ir.Constant(number, value) for value in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def store(typing, array, index, value):  # type: ignore[no-untyped-def]
    """Write vector number `index` of a contiguous array."""
    vector = _VECTORS[array.dtype]

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        stored = builder.store(values[2], _place(context, builder, call.args[0], *values[:2], vector))
        stored.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def everywhere(typing, array, index):  # type: ignore[no-untyped-def]
    """Element `index` of a contiguous array in all lanes."""
    vector = _VECTORS[array.dtype]

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        number = builder.load(_element(context, builder, call.args[0], *values))
        return _spread(builder, number, vector)

    return vector(array, types.intp), code


@intrinsic
def constant(typing, array, number):  # type: ignore[no-untyped-def]
    """`number` in all lanes of a vector of the array's type."""
    vector = _VECTORS[array.dtype]

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        return _spread(builder, context.cast(builder, values[1], call.args[1], array.dtype), vector)

    return vector(array, number), code


@intrinsic
def fma(typing, a, b, c):  # type: ignore[no-untyped-def]
    """a * b + c, rounded once."""

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        return _fused(builder, a, *values)

    return a(a, a, a), code


@intrinsic
def less_product(typing, c, a, b):  # type: ignore[no-untyped-def]
    """c - a * b, rounded once."""

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        return _fused(builder, a, builder.fneg(values[1]), values[2], values[0])

    return a(a, a, a), code


def _fused(builder, kind, a, b, c):  # type: ignore[no-untyped-def]
    name = f"llvm.fma.v{kind.n_lanes}f{kind.dtype.bitwidth}"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind.llvm, [kind.llvm] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic
def choose_greater(typing, a, b, if_greater, otherwise):  # type: ignore[no-untyped-def]
    """`if_greater` in the lanes where a > b, `otherwise` elsewhere."""

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        return builder.select(builder.fcmp_ordered(">", *values[:2]), *values[2:])

    return a(a, a, a, a), code


@intrinsic
def differ(typing, a, b):  # type: ignore[no-untyped-def]
    """Whether any lane of a differs from b."""

    def code(context, builder, call, values):  # type: ignore[no-untyped-def]
        bits = ir.IntType(a.n_lanes)
        unequal = builder.bitcast(builder.fcmp_unordered("!=", *values), bits)
        return builder.icmp_unsigned("!=", unequal, ir.Constant(bits, 0))

    return types.boolean(a, a), code


def _define(operation, instruction: str) -> None:  # type: ignore[no-untyped-def]
    @infer_global(operation)
    class _Operation(AbstractTemplate):
        def generic(self, args, kws):  # type: ignore[no-untyped-def]
            if len(args) == 2 and isinstance(args[0], VectorType) and args[0] is args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(operation, VectorType, VectorType)
    def _code(context, builder, call, values):  # type: ignore[no-untyped-def]
        return getattr(builder, instruction)(*values)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_operation, _instruction)
