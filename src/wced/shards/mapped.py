"""Columns of many memory-mapped record batches, read in compiled code by their addresses.

A numba function can not take a thousand arrays at once; it takes an array of their addresses. Whoever calls these
functions keeps the mapped files open and asks only for rows that there are.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def pointer(typing_context, address):
    """Return a 64-bit integer as the pointer that it is."""

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
def _piece_of(place, starts):
    """Return the record batch that holds a place of the whole set."""
    return np.searchsorted(starts, place, side="right") - 1


@numba.njit(nogil=True, cache=True)
def ends(cells, starts, offset_at, offsets):
    """Write where each cell's genes end in flat arrays of these cells to `offsets` (n + 1), beginning with 0."""
    offsets[0] = 0
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        bounds = numba.carray(pointer(offset_at[piece]), row + 2, np.int32)
        offsets[i + 1] = offsets[i] + bounds[row + 1] - bounds[row]


@numba.njit(nogil=True, cache=True)
def copy_genes(cells, starts, offset_at, gene_at, count_at, offsets, gene, count):
    """Copy the genes and counts of cells to flat arrays, each cell's from its place in `offsets` on."""
    to_gene, to_count = gene.ctypes.data, count.ctypes.data
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        begin = np.int64(numba.carray(pointer(offset_at[piece]), row + 1, np.int32)[row])
        n = offsets[i + 1] - offsets[i]
        wide, deep = gene.itemsize, count.itemsize
        _copy_bytes(to_gene + wide * offsets[i], gene_at[piece] + wide * begin, wide * n)
        _copy_bytes(to_count + deep * offsets[i], count_at[piece] + deep * begin, deep * n)


@numba.njit(nogil=True, cache=True)
def locate_genes(cells, starts, offset_at, gene_at, count_at, wide, deep, offsets, cell_gene_at, cell_count_at):
    """Write where the genes and counts of cells lie, and `offsets` as `ends` does; ids have `wide` bytes."""
    offsets[0] = 0
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        bounds = numba.carray(pointer(offset_at[piece]), row + 2, np.int32)
        cell_gene_at[i] = gene_at[piece] + wide * np.int64(bounds[row])
        cell_count_at[i] = count_at[piece] + deep * np.int64(bounds[row])
        offsets[i + 1] = offsets[i] + bounds[row + 1] - bounds[row]


@numba.njit(nogil=True, cache=True)
def copy_column(cells, starts, column_at, values):
    """Copy a column's values of some cells; its type is that of `values`."""
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        values[i] = numba.carray(pointer(column_at[piece]), row + 1, values.dtype)[row]


@numba.njit(nogil=True, cache=True)
def copy_columns(cells, starts, columns_at, values):
    """Copy several columns of one type of some cells; `columns_at` has a row, `values` a column for each."""
    for i in range(len(cells)):
        piece = _piece_of(cells[i], starts)
        row = cells[i] - starts[piece]
        for k in range(len(columns_at)):
            values[i, k] = numba.carray(pointer(columns_at[k, piece]), row + 1, values.dtype)[row]


@numba.njit(nogil=True, cache=True)
def eligible(first, last, starts, sizes, offset_at, split_at, split, places):
    """Write the places in [first, last) of a split's cells that have any gene to `places`; return how many.

    Nothing is written where `places` has no room.
    """
    found = 0
    for piece in range(_piece_of(first, starts) if first < last else len(starts), len(starts)):
        if starts[piece] >= last:
            break
        bounds = numba.carray(pointer(offset_at[piece]), sizes[piece] + 1, np.int32)
        splits = numba.carray(pointer(split_at[piece]), sizes[piece], np.int8)
        for row in range(max(first - starts[piece], 0), min(last - starts[piece], sizes[piece])):
            if splits[row] == split and bounds[row + 1] > bounds[row]:
                if found < len(places):
                    places[found] = starts[piece] + row
                found += 1
    return found


@numba.njit(nogil=True, cache=True)
def block_bounds(starts, sizes, offset_at, split_at, split, block_cells, bounds, cells):
    """Cut a split into runs of `block_cells` of its cells (the last one may have fewer); return the number of blocks.

    Block b lies in places bounds[b] to bounds[b + 1] and has cells[b] cells of the split.
    """
    block, held = 0, 0
    bounds[0] = 0
    for piece in range(len(starts)):
        offsets = numba.carray(pointer(offset_at[piece]), sizes[piece] + 1, np.int32)
        splits = numba.carray(pointer(split_at[piece]), sizes[piece], np.int8)
        for row in range(sizes[piece]):
            if splits[row] == split and offsets[row + 1] > offsets[row]:
                held += 1
                if held == block_cells:
                    cells[block] = held
                    block, held = block + 1, 0
                    bounds[block] = starts[piece] + row + 1
    if held:
        cells[block] = held
        block += 1
        bounds[block] = starts[-1] + sizes[-1]
    return block
