import gc

import numpy as np
import pytest
import torch

from wced.shards.memory import ALIGNMENT, MOST_BLOCKS, arrays

SHAPES = {"a": ((3, 5), np.int32), "b": ((0,), np.float32), "c": ((7,), np.float32), "d": ((2, 2), np.bool_)}


def test_arrays_have_their_shapes_and_do_not_overlap():
    made = arrays(SHAPES)
    assert {name: (array.shape, array.dtype.type) for name, array in made.items()} == SHAPES
    for value, array in enumerate(made.values()):
        array[...] = value
    for value, array in enumerate(made.values()):
        assert (array == np.array(value, array.dtype)).all()
    starts = [array.ctypes.data - made["a"].ctypes.data for array in made.values() if array.size]
    assert all(start % ALIGNMENT == 0 for start in starts)


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[1:2],
        lambda array: array.view(np.uint8),
        lambda array: memoryview(array),
        lambda array: torch.from_numpy(array),
        lambda array: torch.from_numpy(array)[1:],
        lambda array: torch.from_numpy(array).numpy(),
    ],
    ids=["array", "slice", "view", "memoryview", "tensor", "slice_of_tensor", "array_of_tensor"],
)
def test_memory_is_used_again_only_when_nobody_looks_at_it(hold):
    shapes = {"x": ((100, 1000), np.int32)}
    held = []
    for value in range(3 * MOST_BLOCKS):
        array = arrays(shapes)["x"]
        array[...] = value
        held.append(hold(array))
        del array
    firsts = [int(np.asarray(part).reshape(-1).view(np.int32)[0]) for part in held]
    assert firsts == list(range(3 * MOST_BLOCKS))
    del held
    gc.collect()
    places = set()
    for _ in range(3 * MOST_BLOCKS):
        places.add(arrays(shapes)["x"].ctypes.data)
    assert len(places) == 1


def test_a_block_grows_when_it_must():
    for size in (10, 10_000_000, 10):
        array = arrays({"x": ((size,), np.uint8)})["x"]
        array[...] = 1
        assert array.sum(dtype=np.int64) == size
        del array
