"""From a planned graph to readable C: ``model.h`` and ``model.c`` through the templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tinyfl.compiler.demand import kernel, operands, takes_scratch
from tinyfl.compiler.ops import OPERATORS
from tinyfl.compiler.ops.operator import ONLY, Folded, number_text
from tinyfl.compiler.plan import Plan
from tinyfl.graph import Graph, HeadFormat, Layer, Tensor
from tinyfl.reference.head import held_bits, to_wire
from tinyfl.wire.messages import Delta, Feed, Inferred, Train, Welcome

if TYPE_CHECKING:
    from jinja2 import Environment

LINE = 108
PREFIX_BYTES = 4  # before the coded weights of a model with an adapter


@dataclass(frozen=True)
class LayerCode:
    """What the template needs of one layer; ``call`` is empty where nothing is left to do."""

    index: int
    title: str
    notes: str
    struct: str
    arrays: tuple[tuple[str, str, int | str, str], ...]  # C type, name, length where the compiler cannot count, values
    fields: tuple[tuple[str, str], ...]
    call: str


def emit(
    graph: Graph, plan: Plan, folded: Sequence[Folded | None], backbone: int, head: HeadFormat | None, digest: str
) -> dict[str, str]:
    """``{"model.h": ..., "model.c": ...}``; the same model gives the same text."""
    values = {
        "name": c_string(graph.name),
        "layers": [_layer_code(graph, plan, layer, part) for layer, part in zip(graph.layers, folded, strict=True)],
        "arena_bytes": plan.arena_bytes,
        "input_offset": plan.offsets[graph.input],
        "input_bytes": graph.tensor(graph.input).size,
        "output_offset": plan.offsets[graph.output],
        "output_bytes": graph.tensor(graph.output).size,
        "backbone": backbone,
        "digest": digest,
        "hash": wrap(f"0x{byte:02x}" for byte in bytes.fromhex(digest)[:16]),
        "head": None if head is None else _head_values(graph, plan, backbone, head),
        "adapter": _adapter_values(head),
    }
    values["body_bytes"] = _body_bytes(values)
    return {name: _templates().get_template(f"{name}.j2").render(values) for name in ("model.h", "model.c")}


def c_string(text: str) -> str:
    """The text as it may stand in a C string or comment: printable ASCII without quotes and the like."""
    return "".join(c if c.isascii() and (c.isalnum() or c in " _-.") else "_" for c in text)


def wrap(items: Iterable[str]) -> str:
    """Comma-separated values, four spaces deep, in lines that fit."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > LINE:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line])


@lru_cache(maxsize=1)
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("tinyfl.compiler", "templates")
    return Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )


def _layer_code(graph: Graph, plan: Plan, layer: Layer, folded: Folded | None) -> LayerCode:
    shapes = " + ".join(shape_text(graph.tensor(i)) for i in operands(graph, layer))
    title = f"Layer {layer.index}: {layer.op} {shapes} -> {shape_text(graph.tensor(layer.outputs[0]))}"
    if folded is None:
        return LayerCode(layer.index, title, "an alias in the arena", "", (), (), "")
    prefix = f"layer{layer.index}"
    own = {array.name for array in folded.arrays}
    return LayerCode(
        layer.index,
        title,
        _notes(graph, layer),
        folded.struct or f"tfl_{layer.op}",
        tuple((a.ctype, f"{prefix}_{a.name}", a.length if a.fixed else "", wrap(a.items())) for a in folded.arrays),
        tuple((name, f"{prefix}_{v}" if v in own else number_text(v)) for name, v in folded.fields),
        f"{kernel(graph, layer)[0]}(&{prefix}, {_pointers(graph, plan, layer)})",
    )


def _pointers(graph: Graph, plan: Plan, layer: Layer) -> str:
    """The kernel's arguments in the arena; scratch is null where a kernel that could take some needs none here."""
    pointers = [f"arena + {plan.offsets[i]}" for i in (*operands(graph, layer), layer.outputs[0])]
    if takes_scratch(layer):
        pointers.append(f"arena + {plan.scratch[layer.index]}" if layer.index in plan.scratch else "0")
    return ", ".join(pointers)


def shape_text(tensor: Tensor) -> str:
    """49x10x1: without the batch."""
    return "x".join(map(str, tensor.shape[1:] or tensor.shape))


def _notes(graph: Graph, layer: Layer) -> str:
    """Options, scales and multiply-accumulates in one line; in another one the kernel, where there was a choice."""
    options = [f"{key} {option_text(value)}" for key, value in layer.options.items() if key != "scratch"]
    scales = [
        f"{side} {graph.tensor(i).quantization.scale:.6g} @ {graph.tensor(i).quantization.zero_point}"  # type: ignore[union-attr]
        for side, i in (("in", layer.inputs[0]), ("out", layer.outputs[0]))
    ]
    line = ", ".join([*options, *scales, f"{OPERATORS[layer.op].macs(graph, layer)} MACs"])
    name, reason = kernel(graph, layer)
    return line if reason == ONLY else f"{line}\n   {name}: {reason}"


def option_text(value: Any) -> str:
    """An option without anything that could end a comment."""
    return c_string(str(value).replace("(", "").replace(")", "").replace(",", ""))


def _head_values(graph: Graph, plan: Plan, backbone: int, head: HeadFormat) -> dict[str, Any]:
    count = head.size
    return {
        "features": head.features,
        "classes": head.classes,
        "count": count,
        "fw": head.fw,
        "bias_value": head.bias_value,
        "embedding_offset": plan.offsets[graph.layers[backbone].inputs[0]],
        "offset": wrap(map(str, head.offset.tolist())),
        "initial": wrap(map(str, to_wire(head.initial).tolist())),
        "held_bytes": (count + 7) // 8,
        "held": "" if head.held is None else wrap(f"0x{byte:02x}" for byte in held_bits(head.held)),
    }


def _adapter_values(head: HeadFormat | None) -> dict[str, Any] | None:
    if head is None or head.adapter is None:
        return None
    adapter = head.adapter
    return {"group": adapter.group, "count": adapter.size, "offset": wrap(map(str, adapter.offset.tolist()))}


def _body_bytes(values: dict[str, Any]) -> int:
    """The largest message body of this model: TRAIN, DELTA, FEED, INFERRED or, of the small ones, WELCOME."""
    counts: list[int] = [values[tensor]["count"] for tensor in ("head", "adapter") if values[tensor]]
    count = max(counts, default=0)
    return max(
        Train.BYTES + (PREFIX_BYTES if values["adapter"] else 0) + 2 * sum(counts),
        Delta.BYTES + count + (count + 7) // 8 + 1,  # a value, a bit in a bitmap, the header byte
        Feed.BYTES + int(values["input_bytes"]),
        Inferred.BYTES + int(values["output_bytes"]),
        Welcome.BYTES,
    )
