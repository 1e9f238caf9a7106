"""Layers that another operator computes as well, and better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyfl.graph import Graph, Layer, Tensor

FILTERS = 4  # from as many on a convolution shares what it loads


def rewrite(graph: Graph) -> Graph:
    """A depthwise convolution of a single channel is a convolution: CONV_2D's kernel takes each window once."""
    tensors, layers = list(graph.tensors), []
    for layer in graph.layers:
        weights = graph.tensor(layer.inputs[1]) if len(layer.inputs) > 1 else None
        if weights is not None and _is_convolution(graph, layer, weights):
            tensors.append(_turned(weights, len(tensors)))
            layer = replace(layer, op="conv2d", inputs=(layer.inputs[0], len(tensors) - 1, *layer.inputs[2:]))
        layers.append(layer)
    return replace(graph, tensors=tuple(tensors), layers=tuple(layers))


def _is_convolution(graph: Graph, layer: Layer, weights: Tensor) -> bool:
    channels = graph.tensor(layer.inputs[0]).shape[-1]
    return layer.op == "depthwise_conv2d" and channels == 1 and weights.shape[3] >= FILTERS


def _turned(weights: Tensor, index: int) -> Tensor:
    """[1, kh, kw, O] as [O, kh, kw, 1]."""
    assert weights.data is not None and weights.quantization is not None
    quantization = replace(weights.quantization, axis=0)
    data = np.ascontiguousarray(np.moveaxis(weights.data, 3, 0).reshape(weights.shape[3], *weights.shape[1:3], 1))
    return replace(weights, index=index, shape=data.shape, data=data, quantization=quantization)
