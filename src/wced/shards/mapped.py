"""Columns of many memory-mapped record batches, read in compiled code by their addresses.

A numba function takes no list of a thousand arrays; it takes an array of their addresses. The caller keeps the files
mapped and passes valid row numbers only.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def pointer(typing_context, address):
    """Return a 64-bit address as a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@intrinsic
def _copy_bytes(typing_context, target, source, size):
    """Copy `size` bytes from one address to another with the C library's memcpy, three times as fast as a loop."""

    def generate(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        copy = builder.module.declare_intrinsic("llvm.memcpy", [byte, byte, ir.IntType(64)])
        to, at = (builder.inttoptr(argument, byte) for argument in arguments[:2])
        builder.call(copy, [to, at, arguments[2], ir.Constant(ir.IntType(1), 0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@numba.njit(inline="always")
def _piece_of(cell, starts):
    """Return the record batch that holds a cell of the whole set."""
    return np.searchsorted(starts, cell, side="right") - 1


@numba.njit(nogil=True, cache=True)
def locate_genes(cells, starts, offset_at, gene_at, count_at, id_bytes, offsets, cell_gene_at, cell_count_at):
    """Write where the ids (of `id_bytes` each) and counts of cells lie, and their `offsets` (n + 1) in flat arrays."""
    offsets[0] = 0
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        bounds = numba.carray(pointer(offset_at[piece]), row + 2, np.int32)
        cell_gene_at[i] = gene_at[piece] + id_bytes * np.int64(bounds[row])
        cell_count_at[i] = count_at[piece] + 4 * np.int64(bounds[row])
        offsets[i + 1] = offsets[i] + bounds[row + 1] - bounds[row]


@numba.njit(nogil=True, cache=True)
def copy_genes(offsets, cell_gene_at, cell_count_at, gene, count):
    """Copy what `locate_genes` found to flat arrays."""
    to_gene, to_count = gene.ctypes.data, count.ctypes.data
    for i in range(len(cell_gene_at)):
        n = offsets[i + 1] - offsets[i]
        _copy_bytes(to_gene + gene.itemsize * offsets[i], cell_gene_at[i], gene.itemsize * n)
        _copy_bytes(to_count + count.itemsize * offsets[i], cell_count_at[i], count.itemsize * n)


@numba.njit(nogil=True, cache=True)
def copy_columns(cells, starts, columns_at, values):
    """Copy columns of the type of `values` (cells × columns); `columns_at` is int64, columns × record batches."""
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        for k in range(len(columns_at)):
            values[i, k] = numba.carray(pointer(columns_at[k, piece]), row + 1, values.dtype)[row]


@numba.njit(nogil=True, cache=True)
def eligible(first, last, starts, sizes, offset_at, split_at, split, cells):
    """Write the cells of a split in [first, last) that have any gene, as far as `cells` has room; return how many."""
    n = 0
    for piece in range(_piece_of(first, starts) if first < last else len(starts), len(starts)):
        if starts[piece] >= last:
            break
        bounds = numba.carray(pointer(offset_at[piece]), sizes[piece] + 1, np.int32)
        splits = numba.carray(pointer(split_at[piece]), sizes[piece], np.int8)
        for row in range(max(first - starts[piece], 0), min(last - starts[piece], sizes[piece])):
            if splits[row] == split and bounds[row + 1] > bounds[row]:
                if n < len(cells):
                    cells[n] = starts[piece] + row
                n += 1
    return n
