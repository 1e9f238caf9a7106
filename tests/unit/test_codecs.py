"""What a server makes of payloads that nobody should have sent, and of heads that it sends itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfl.errors import BoardError
from tinyfl.federated.codecs import decode, encode_weights, rounded
from tinyfl.reference import entropy
from tinyfl.reference.codec import LEVELS, LIMITS, SELECTIONS, Codec, draw, encode
from tinyfl.reference.head import MAX_WEIGHT

WEIGHTS = 65

coded = entropy.encode

codecs = st.builds(
    lambda level, selection, entropy, count, feedback: Codec(
        level, selection, entropy, count if selection != "all" else 0, feedback
    ),
    st.sampled_from(LEVELS),
    st.sampled_from(SELECTIONS),
    st.booleans(),
    st.integers(1, WEIGHTS),
    st.booleans(),
)


def check(codec: Codec, payload: np.ndarray) -> None:
    """An update of the right size and range, or a BoardError."""
    try:
        q = decode(codec, payload, WEIGHTS, 5)
    except BoardError:
        return
    assert q.shape == (WEIGHTS,) and q.dtype == np.int64
    assert int(np.abs(q).max()) <= LIMITS[codec.level]
    assert np.count_nonzero(q) <= (codec.count or WEIGHTS)
    if codec.selection == "random":
        assert not q[~draw(WEIGHTS, codec.count, 5)].any()


@settings(max_examples=300)
@given(codecs, st.binary(max_size=120))
def test_any_bytes_are_an_update_or_an_error(codec: Codec, data: bytes) -> None:
    check(codec, np.frombuffer(data, np.uint8))


@settings(max_examples=300)
@given(codecs, st.data())
def test_a_damaged_payload_is_an_update_or_an_error(codec: Codec, data: st.DataObject) -> None:
    """Bits turned over, bytes added or cut off: nothing but a BoardError may come out."""
    v = np.random.default_rng(data.draw(st.integers(0, 99))).laplace(0, 900, WEIGHTS).astype(np.int64)
    payload = encode(codec, v, data.draw(st.integers(0, 12)), 7, 5).payload
    np.testing.assert_array_equal(decode(codec, payload, WEIGHTS, 5).shape, (WEIGHTS,))
    damaged = payload.copy()
    for bit in data.draw(st.lists(st.integers(0, 8 * len(payload) - 1), max_size=3)):
        damaged[bit // 8] ^= 1 << bit % 8
    cut, more = data.draw(st.integers(0, len(damaged))), data.draw(st.binary(max_size=4))
    check(codec, np.concatenate([damaged[:cut], np.frombuffer(more, np.uint8)]))
    check(codec, damaged)


@pytest.mark.parametrize(
    ("codec", "payload", "message"),
    [
        (Codec(), bytes(64), "sent 64 bytes of deltas, too few"),
        (Codec(), bytes(66), "too many or end in rubbish"),
        (Codec("sign"), bytes(8) + b"\x02", "too many or end in rubbish"),
        (Codec("int4"), b"\x08" + bytes(32), "a delta of -8, the range is -7..7"),
        (Codec("int2"), b"\x02" + bytes(16), "a delta of -2, the range is -1..1"),
        (Codec(entropy=True), bytes(66), "too many or end in rubbish"),
        (Codec(entropy=True), bytes(64), "sent 64 bytes of coded deltas, which are too few, too many"),
        (Codec(entropy=True), b"", "sent 0 bytes of coded deltas, which are too few"),
        (Codec("int4", entropy=True), b"\xff" * 30, "sent 30 bytes of coded deltas, which are too few, too many"),
        (Codec("int4", entropy=True), b"\x88" * 32 + b"\x08", "a delta of -8, the range is -7..7"),
        (Codec("sign", entropy=True), coded(WEIGHTS * [0], 1, 1, 1), "sent 0 weights, asked for 65"),
        (Codec("sign", entropy=True), bytes(17), "sent 0 weights, asked for 65"),
        (Codec("int4", "top", True, 3), coded(WEIGHTS * [1], 7, 3, WEIGHTS), "sent 65 weights, asked for 3"),
        (Codec("int8", "top", False, 2), b"\xf0\x03" + bytes(10), "parameter 0 of values"),
        (Codec("int8", "top", False, 2), b"\xff" * 10 + bytes(2), "sent 65 weights, asked for 2"),
        (Codec("int8", "top", False, 2), bytes([15]) + b"\xff" * 20, "too few"),
        (Codec("int8", "top", False, 2), b"\x5f\xa1\x10" + bytes(2), "sent weight 81, there are 65"),
        (Codec("int8", "random", False, 2), bytes(3), "too many or end in rubbish"),
        (Codec("int4", "top", False, 2), b"\x0f" + b"\xff" * 9 + bytes(3), "the symbol 72, at most 64 is possible"),
        (Codec("sign", "top", False, 3), b"", "sent 0 bytes of deltas, too few"),
    ],
)
def test_what_is_wrong_is_named(codec: Codec, payload: bytes, message: str) -> None:
    with pytest.raises(BoardError, match=message):
        decode(codec, np.frombuffer(payload, np.uint8), WEIGHTS, 5)


@given(st.lists(st.integers(-127, 127), max_size=60), st.integers(0, 9), st.binary(max_size=3), st.data())
def test_coded_numbers_are_said_in_one_way(numbers: list[int], sent: int, more: bytes, data: st.DataObject) -> None:
    """No bytes but those that were written are read as the same numbers."""
    of = max(1, len(numbers))
    written = coded(numbers, 127, sent, of)
    assert entropy.decode(written, len(numbers), 127, sent, of) == numbers
    cut = data.draw(st.integers(0, len(written)))
    other = written[:cut] + more
    if other != written:
        assert entropy.decode(other, len(numbers), 127, sent, of) != numbers


@pytest.mark.parametrize(("ratio", "limit"), [(0.01, 1), (0.05, 7), (0.3, 7), (0.6, 7), (0.8, 127), (0.95, 127)])
def test_coded_numbers_take_little_more_than_their_entropy(ratio: float, limit: int) -> None:
    """Nothing is known of them but what the coder learns."""
    values = np.arange(-limit, limit + 1)
    chances = ratio ** np.abs(values) / np.sum(ratio ** np.abs(values))
    q = np.random.default_rng(4).choice(values, 650, p=chances)
    least = -np.sum(np.log2(chances[q + limit])) / 8
    assert least - 2 < len(coded(q.tolist(), limit, 1, 1)) < 1.04 * least + 4


def test_what_is_likely_where_little_was_large_takes_fewer_bytes() -> None:
    """Weights of a feature that is 0 do not learn, and stand side by side."""
    q = np.random.default_rng(5).integers(-7, 8, 600).reshape(-1, 20)
    q[::2] = 0
    apart, mixed = q.ravel(), np.random.default_rng(6).permutation(q.ravel())
    assert len(coded(apart.tolist(), 7, 1, 1)) < 0.9 * len(coded(mixed.tolist(), 7, 1, 1))


def test_a_random_selection_is_fair() -> None:
    """Each weight as often as any other, and all that were asked for."""
    counts = sum(draw(20, 5, random).astype(int) for random in range(1, 2001))
    assert counts.sum() == 10_000 and np.abs(counts - 500).max() < 100  # five standard deviations
    assert draw(7, 7, 1).all()


def test_few_bytes_for_a_sparse_update() -> None:
    """Positions as gaps where they are rare, as a bitmap where they are not; with entropy coding they cost less."""
    v = np.random.default_rng(2).laplace(0, 900, 650).astype(np.int64)
    sizes, coded = (
        {count: len(encode(Codec("int4", "top", entropy, count, True), v, 9, 1, 1).payload) for count in (7, 65, 500)}
        for entropy in (False, True)
    )
    assert sizes[7] < 1 + 7 * 9 / 8 + 7 and sizes[65] < 1 + 65 * 5 / 8 + 33 and sizes[500] == 1 + 82 + 250
    assert coded[7] <= sizes[7] and coded[65] < sizes[65] and coded[500] < 0.9 * sizes[500]


def test_the_difference_to_an_equal_head_is_a_bit_a_weight() -> None:
    weights = np.random.default_rng(2).integers(-MAX_WEIGHT, MAX_WEIGHT, 231).astype(np.int16)
    coding, coded = encode_weights(weights, "difference", weights)
    assert coding == 2 and len(coded) == 5 + 29
    assert encode_weights(weights, "difference", None)[0] == 0
    assert encode_weights(weights, "int8", None)[0] == 0  # int8 cannot say it
    assert len(encode_weights(rounded(weights), "int8", None)[1]) == 232
