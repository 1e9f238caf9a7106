"""tinyfl/wire/frame.py: the vectors, and properties over arbitrary bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_vectors import unhex, vectors

from tinyfl.errors import FrameError
from tinyfl.wire.frame import (
    Frame,
    FrameDecoder,
    cobs_decode,
    cobs_encode,
    decode_frame,
    encode_frame,
    frame_bytes,
    kind_byte,
)
from tinyfl.wire.messages import FrameKind

FRAMES = st.builds(
    Frame,
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 65535),
    st.binary(max_size=600),
)


def test_frames_equal_the_vectors() -> None:
    for *header, payload, encoded in vectors("frames"):
        frame = Frame(*map(int, header), unhex(payload))  # type: ignore[arg-type]
        assert encode_frame(frame, zero=True) == unhex(encoded)
        assert encode_frame(frame) == unhex(encoded)[1:]
        assert FrameDecoder().feed(unhex(encoded)) == [frame]


@given(st.sampled_from(FrameKind), st.booleans(), st.integers(0, 15))
def test_the_byte_kind_has_three_parts(purpose: FrameKind, to_host: bool, units: int) -> None:
    frame = Frame(kind_byte(purpose, to_host, units), 1, 2)
    assert (frame.purpose, frame.to_host, frame.units) == (purpose, to_host, units)


@pytest.mark.parametrize(("payload", "cost"), [(0, 10), (246, 10), (247, 11), (500, 11), (501, 12)])
def test_what_a_frame_costs_beside_its_payload(payload: int, cost: int) -> None:
    """Bytes without a zero are the worst case; the CRC can hold one, so the bound may be missed by little."""
    assert frame_bytes(payload) == payload + cost
    encoded = encode_frame(Frame(0x11, 1, 0x0101, b"\x11" * payload))
    assert payload + cost - 1 <= len(encoded) <= payload + cost


@pytest.mark.parametrize("size", [253, 254, 255, 508, 509])
def test_cobs_at_the_ends_of_blocks(size: int) -> None:
    """Worked from the definition: a full block is followed by a code byte only if bytes follow."""
    data = b"\x11" * size
    blocks = [data[i : i + 254] for i in range(0, size, 254)]
    assert cobs_encode(data) == b"".join(bytes([len(b) + 1]) + b for b in blocks)
    assert cobs_encode(data + b"\0") == cobs_encode(data) + (b"\1\1" if size % 254 == 0 else b"\1")


@given(st.binary(max_size=1200))
def test_cobs_round_trip(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(encoded) == data


@given(FRAMES)
def test_no_frame_is_longer_than_its_bound(frame: Frame) -> None:
    assert len(encode_frame(frame)) <= frame_bytes(len(frame.payload))


@given(st.lists(FRAMES, max_size=5), st.binary(max_size=50), st.integers(1, 40))
def test_a_stream_in_any_portions(frames: list[Frame], noise: bytes, step: int) -> None:
    """Noise before and after frames that begin with a zero costs none of them."""
    stream = noise + b"".join(encode_frame(f, zero=True) + noise for f in frames)
    decoder, got = FrameDecoder(), []
    for i in range(0, len(stream), step):
        got += decoder.feed(stream[i : i + step])
    assert got == frames


@given(FRAMES, st.data())
def test_a_changed_frame_is_none(frame: Frame, data: st.DataObject) -> None:
    encoded = bytearray(encode_frame(frame)[:-1])
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        decode_frame(bytes(encoded))


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_never_raises(parts: list[bytes]) -> None:
    decoder = FrameDecoder(16)
    for part in parts:
        for frame in decoder.feed(part):
            assert len(frame.payload) <= 16


def test_a_stream_without_zeros_takes_no_memory() -> None:
    decoder = FrameDecoder(16)
    for _ in range(100):
        assert decoder.feed(b"\x55" * 1000) == []
    assert len(decoder._pending) <= 30
    frame = Frame(1, 2, 3, b"after it")
    assert decoder.feed(encode_frame(frame, zero=True)) == [frame]
    assert (decoder.skipped, decoder.skipped_bytes) == (1, 0)  # nobody's frame: its length says nothing
    assert decoder.feed(b"\x05garbage\0") == [] and decoder.skipped_bytes == 9


@given(st.binary(max_size=400))
def test_noise_without_a_zero_costs_one_frame_and_no_more(noise: bytes) -> None:
    """Text before a frame that no zero precedes takes that frame with it, not the next."""
    first, second = Frame(9, 1, 2, b"first"), Frame(9, 2, 2, b"second")
    got = FrameDecoder().feed(noise.replace(b"\0", b"") + encode_frame(first) + encode_frame(second))
    assert got[-1] == second and len(got) <= 2
