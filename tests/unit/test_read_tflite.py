"""Reading a .tflite: what is refused and how, and that hostile bytes end in ModelError only."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_tflite import Op, T, small_classifier, write_tflite

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.errors import ModelError

SMALL = small_classifier()
CONV = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


def conv_tensors() -> list[T]:
    """Input, weights, bias, output of a convolution that is accepted."""
    bias = T((3,), [1.0], 0, np.zeros(3), "int32")
    return [T((1, 5, 5, 2)), T((3, 2, 2, 2), [0.1] * 3, 0, np.ones((3, 2, 2, 2))), bias, T((1, 5, 5, 3))]


def conv(tensors: list[T], **options: int) -> bytes:
    return write_tflite(tensors, [Op("CONV_2D", [0, 1, 2], [3], CONV | options)], [0], [3])


def refusal(data: bytes) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_tflite(data, "m")
    assert caught.value.message.startswith("m: ") and "\n" not in caught.value.message
    return caught.value


def test_reads_layers_in_order() -> None:
    graph = read_tflite(SMALL, "small")
    assert [layer.op for layer in graph.layers] == ["conv2d", "reshape", "dense", "dense", "softmax"]
    assert graph.layers[0].options == {"stride_h": 2, "stride_w": 1, "padding": "valid", "activation": "relu"}
    assert graph.tensor(graph.input).shape == (1, 10, 1, 3)
    assert graph.tensor(graph.output).quantization.zero_point == -128
    assert all(tensor.index == i for i, tensor in enumerate(graph.tensors))
    assert read_tflite(conv(conv_tensors()), "ok").layers[0].options["padding"] == "same"


def test_float_model_is_refused_by_name_and_type() -> None:
    tensors = conv_tensors()
    tensors[0] = replace(tensors[0], type="float32")
    error = refusal(conv(tensors))
    assert "'t0' is float32, expected int8" in error.message and "full-int8" in error.hint


def test_unsupported_operator_is_named_with_its_index_and_the_supported_ones() -> None:
    tensors = [T((1, 4)), T((1, 4)), T((1, 4), [1 / 256], -128)]
    ops = [Op("QUANTIZE", [0], [1]), Op("LOGISTIC", [1], [2])]
    error = refusal(write_tflite(tensors, ops, [0], [2]))
    assert "operator 1 (LOGISTIC) is not supported" in error.message
    assert "CONV_2D" in error.hint and "QUANTIZE" in error.hint


def test_operator_that_the_output_does_not_need_is_left_out() -> None:
    tensors = [T((1, 4)), T((1, 4)), T((1, 4))]
    ops = [Op("LOGISTIC", [0], [2]), Op("QUANTIZE", [0], [1])]
    assert [layer.op for layer in read_tflite(write_tflite(tensors, ops, [0], [1]), "m").layers] == ["quantize"]


def test_dynamic_batch_counts_as_one() -> None:
    tensors = [T((-1, 4)), T((-1, 4))]
    graph = read_tflite(write_tflite(tensors, [Op("QUANTIZE", [0], [1])], [0], [1]), "m")
    assert graph.tensor(graph.input).shape == (1, 4)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"DilationHFactor": 2}, "dilation 2x1 is not supported"),
        ({"FusedActivationFunction": 4}, "fused activation 4 is not supported"),
        ({"StrideW": 0}, "stride 1x0"),
        ({"Padding": 7}, "padding 7"),
        ({"Padding": 1}, "expected (1, 4, 4, 3)"),
    ],
)
def test_conv_options_are_checked(options: dict[str, int], text: str) -> None:
    assert text in refusal(conv(conv_tensors(), **options)).message


@pytest.mark.parametrize(
    ("index", "change", "text"),
    [
        (0, {"shape": (2, 5, 5, 2)}, "batch of 1"),
        (0, {"shape": (1, 5, 5, 3)}, "filters of depth 2 on an input of depth 3"),
        (0, {"shape": (1, 5, 0, 2)}, "empty, dynamic or too large"),
        (0, {"shape": (1, 60000, 60000, 2)}, "too large"),
        (0, {"scales": (float("nan"),)}, "scale that is not positive"),
        (0, {"scales": (-1.0,)}, "scale that is not positive"),
        (0, {"scales": (1.0, 2.0)}, "2 scales, expected 1"),
        (0, {"scales": (1e38,)}, "does not fit fixed point"),
        (0, {"zero_point": 128}, "zero point outside"),
        (1, {"zero_point": 1}, "zero point 1, expected 0"),
        (1, {"scales": (0.1, 0.1)}, "2 weight scales for 3 channels"),
        (1, {"axis": 3}, "along axis 3, expected 0"),
        (1, {"data": None}, "activation 't1' is int8 (3, 2, 2, 2), expected int8 with a batch of 1"),
        (1, {"data": np.ones(23)}, "holds 23 values"),
        (2, {"shape": (4,), "data": np.zeros(4)}, "bias of shape"),
        (2, {"data": np.full(3, 2**31 - 1000)}, "may leave 32 bits"),
        (3, {"shape": (1, 5, 5, 4)}, "3 filters for 4 output channels"),
    ],
)
def test_shapes_scales_and_buffers_are_checked(index: int, change: dict, text: str) -> None:
    tensors = conv_tensors()
    tensors[index] = replace(tensors[index], **change)
    message = refusal(conv(tensors)).message
    assert text in message


def test_cycles_and_double_writes_are_refused() -> None:
    tensors = [T((1, 4)) for _ in range(4)]
    cycle = [Op("ADD", [0, 2], [1], {}), Op("QUANTIZE", [1], [2])]
    assert (
        "reads a tensor that no operator before it computes" in refusal(write_tflite(tensors, cycle, [0], [2])).message
    )
    twice = [Op("QUANTIZE", [0], [1]), Op("QUANTIZE", [0], [1])]
    assert "written before" in refusal(write_tflite(tensors, twice, [0], [1])).message


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\x00" * 64, b"PK\x03\x04" + b"x" * 100, SMALL[:4] + b"TFL2" + SMALL[8:]]
)
def test_other_files_are_refused(data: bytes) -> None:
    assert "not a .tflite file" in refusal(data).message


def test_hostile_names_stay_on_one_line() -> None:
    data = conv([replace(conv_tensors()[0], type="float32"), *conv_tensors()[1:]])
    assert data.count(b"t0\0") == 1
    message = refusal(data.replace(b"t0\0", b"\n\x1b\0")).message
    assert "'??' is float32" in message


def test_every_truncation_is_refused_or_still_whole() -> None:
    for length in range(0, len(SMALL), 3):
        accepts_or_refuses(SMALL[:length])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_never_raise_anything_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for position, value in changes:
        data[position] = value
    accepts_or_refuses(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL) // 4 - 1), st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0]))
def test_hostile_offsets_never_raise_anything_else(word: int, value: int) -> None:
    data = bytearray(SMALL)
    data[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
    accepts_or_refuses(bytes(data))


def accepts_or_refuses(data: bytes) -> None:
    """Compiles, or raises ModelError with one line; any other exception fails the test."""
    try:
        compile_model(data, "m", None)
    except ModelError as error:
        assert error.message.startswith("m: ") and "\n" not in error.message
