"""One vector of all that is trained: where the head and the adapter lie in it, and what messages say of it."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfl.graph import AdapterFormat, HeadFormat
from tinyfl.reference import tensors
from tinyfl.reference.head import to_wire
from tinyfl.reference.tensors import ADAPTER, ALL, HEAD, Adapting

HELD = np.zeros((5, 3), bool)
HELD[1, 2] = True
PLAIN = HeadFormat(4, 3, np.zeros(4, np.int8), 8, 400.0, 13, np.arange(15, dtype=np.int16).reshape(5, 3), HELD)
FORMAT = HeadFormat(
    4, 3, np.zeros(4, np.int8), 8, 400.0, 13, PLAIN.initial, HELD, AdapterFormat(np.zeros(4, np.int8), 3, 16.0)
)


def test_sizes_and_places() -> None:
    adapter = FORMAT.adapter
    assert adapter is not None and (FORMAT.size, adapter.size) == (15, 3 * 4 + 2)
    assert tensors.slices(FORMAT) == (slice(0, 15), slice(15, 29)) and tensors.count(FORMAT) == 29
    assert tensors.slices(FORMAT, 1 << ADAPTER) == (slice(0, 14),) and tensors.numbers(FORMAT, 2) == (ADAPTER,)
    assert tensors.slices(PLAIN) == (slice(0, 15),) and tensors.numbers(PLAIN) == (HEAD,)


@pytest.mark.parametrize("shared", [1, 2, ALL])
def test_shared_weights_are_a_slice_of_all(shared: int) -> None:
    places = dict(zip(tensors.numbers(FORMAT), tensors.slices(FORMAT), strict=True))
    own = [places[number] for number in tensors.numbers(FORMAT, shared)]
    for part in (tensors.initial, tensors.learns, tensors.units):
        whole = part(FORMAT, ALL)  # type: ignore[operator]
        expected = np.concatenate([whole[place] for place in own])
        np.testing.assert_array_equal(part(FORMAT, shared), expected)  # type: ignore[operator]
    assert tensors.count(FORMAT, shared) == len(expected)


def test_the_start_is_the_compiled_head_and_an_adapter_of_zeros() -> None:
    weights = tensors.initial(FORMAT)
    assert weights[:15].tolist() == to_wire(FORMAT.initial).tolist() and not weights[15:].any()
    learns = tensors.learns(FORMAT)
    assert learns[15:].all() and learns[:15].tolist() == (~to_wire(HELD)).tolist()


def test_units_and_scales() -> None:
    assert set(tensors.units(PLAIN)) == {2.0**29 / 20}
    assert set(tensors.units(FORMAT)[15:]) == {2.0**29 / 4}
    scales = tensors.scales(FORMAT, ALL, (3, 5))
    assert scales[:15].tolist() == [8] * 15 and scales[15:].tolist() == [32] * 14 and scales.dtype == np.int64


def test_the_bytes_before_the_weights() -> None:
    adapting = Adapting(2, (0x4321, 17))
    assert adapting.prefix().tolist() == [2, 0, 0, 0]
    assert adapting.prefix(trains=True).tolist() == [2, 0x21, 0x43, 17]
    assert adapting.prefix(trains=True, loads=False).tolist() == [0, 0x21, 0x43, 17]
