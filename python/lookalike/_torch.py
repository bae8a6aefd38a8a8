"""An exported encoder as a module of PyTorch: its graph, read from the ONNX file and run node by
node."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._inputs import need
from .errors import ModelError

if TYPE_CHECKING:
    import torch
else:
    torch = need("torch", "to_torch")

# What protocol buffers say of a field.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_KINDS = {1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: whole numbers, and the bytes of all else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        value: Any
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            value, at = data[at : at + size], at + size
        else:
            raise ModelError(f"the ONNX file cannot be read: field {field} is of kind {kind}")
        yield field, value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _all(message: bytes, wanted: int) -> list[Any]:
    return [value for field, value in _fields(message) if field == wanted]


def _attribute(message: bytes) -> tuple[str, Any]:
    """Name and value: a whole number, a float, text, or whole numbers."""
    name, value, several = "", None, []
    for field, found in _fields(message):
        if field == 1:
            name = found.decode()
        elif field == 2:
            value = struct.unpack("<f", found)[0]
        elif field == 3:
            value = _signed(found)
        elif field == 4:
            value = found.decode()
        elif field == 8:
            several.append(_signed(found))
    return name, several if several else value


def _constant(message: bytes) -> tuple[str, Any]:
    """Name and tensor of an initialiser."""
    sizes, kind, name, raw = [], 0, "", b""
    for field, found in _fields(message):
        if field == 1:
            sizes.append(found)
        elif field == 2:
            kind = found
        elif field == 8:
            name = found.decode()
        elif field == 9:
            raw = found
    if not raw:
        return name, torch.empty(sizes, dtype=_KINDS[kind])
    return name, torch.frombuffer(bytearray(raw), dtype=_KINDS[kind]).reshape(sizes)


def _pad(planes: Any, pads: list[int], **how: Any) -> Any:
    top, left, bottom, right = pads
    return (
        torch.nn.functional.pad(planes, (left, right, top, bottom), **how) if any(pads) else planes
    )


def _conv(inputs: list[Any], about: dict[str, Any]) -> Any:
    value, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    padded = _pad(value, about.get("pads", [0, 0, 0, 0]))
    return torch.nn.functional.conv2d(padded, weight, bias, stride=about.get("strides", [1, 1]))


def _max_pool(inputs: list[Any], about: dict[str, Any]) -> Any:
    padded = _pad(inputs[0], about.get("pads", [0, 0, 0, 0]), value=float("-inf"))
    return torch.nn.functional.max_pool2d(padded, about["kernel_shape"], about["strides"])


def _edge(inputs: list[Any], about: dict[str, Any]) -> Any:
    _, _, top, left, _, _, bottom, right = inputs[1].tolist()
    return _pad(inputs[0], [top, left, bottom, right], mode="replicate")


def _slice(inputs: list[Any], about: dict[str, Any]) -> Any:
    value, starts, ends, axes = inputs
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist()):
        value = value.narrow(axis, start, min(end, value.shape[axis]) - start)
    return value


def _reduced(name: str) -> Any:
    def reduce(inputs: list[Any], about: dict[str, Any]) -> Any:
        value, axes = inputs[0], about["axes"]
        if name == "mean":
            return value.mean(axes, keepdim=True)
        if name == "least":
            return value.amin(axes, keepdim=True)
        squares = (value * value).sum(axes, keepdim=True)
        return squares.sqrt() if name == "length" else squares

    return reduce


def _largest(inputs: list[Any], about: dict[str, Any]) -> Any:
    value = inputs[0]
    for other in inputs[1:]:
        value = torch.maximum(value, other)
    return value


def _smallest(inputs: list[Any], about: dict[str, Any]) -> Any:
    value = inputs[0]
    for other in inputs[1:]:
        value = torch.minimum(value, other)
    return value


_OPERATORS = {
    "Abs": lambda i, a: i[0].abs(),
    "Add": lambda i, a: i[0] + i[1],
    "Atan": lambda i, a: i[0].atan(),
    "Cast": lambda i, a: i[0].to(_KINDS[a["to"]]),
    "Clip": lambda i, a: torch.minimum(torch.maximum(i[0], i[1]), i[2]),
    "Concat": lambda i, a: torch.cat(i, a["axis"]),
    "Conv": _conv,
    "Div": lambda i, a: i[0] / i[1],
    "Equal": lambda i, a: i[0] == i[1],
    "Flatten": lambda i, a: i[0].flatten(a.get("axis", 1)),
    "Gather": lambda i, a: i[0].index_select(a["axis"], i[1]),
    "Gemm": lambda i, a: i[0] @ i[1] + i[2],
    "Greater": lambda i, a: i[0] > i[1],
    "Less": lambda i, a: i[0] < i[1],
    "MatMul": lambda i, a: i[0] @ i[1],
    "Max": _largest,
    "MaxPool": _max_pool,
    "Min": _smallest,
    "Mul": lambda i, a: i[0] * i[1],
    "Pad": _edge,
    "ReduceL2": _reduced("length"),
    "ReduceMean": _reduced("mean"),
    "ReduceMin": _reduced("least"),
    "ReduceSumSquare": _reduced("squares"),
    "Relu": lambda i, a: i[0].relu(),
    "Reshape": lambda i, a: i[0].reshape(i[1].tolist()),
    "Sign": lambda i, a: i[0].sign(),
    "Slice": _slice,
    "Sqrt": lambda i, a: i[0].sqrt(),
    "Sub": lambda i, a: i[0] - i[1],
    "Transpose": lambda i, a: i[0].permute(a["perm"]),
    "Where": lambda i, a: torch.where(i[0], i[1], i[2]),
}


class OnnxModule(torch.nn.Module):
    """The graph of an encoder.

    Parameters
    ----------
    file : bytes
        The file of `Encoder.to_onnx`.
    """

    def __init__(self, file: bytes) -> None:
        super().__init__()
        graph = _all(file, 7)[0]
        self._nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        learned = set()
        for node in _all(graph, 1):
            inputs = [name.decode() for name in _all(node, 1)]
            operator = _all(node, 4)[0].decode()
            if operator not in _OPERATORS:
                raise ModelError(
                    f"the ONNX file has the operator {operator}, which this version of lookalike does not know"
                )
            if operator in ("Conv", "Gemm"):
                learned.update(inputs[1:])
            output = _all(node, 2)[0].decode()
            self._nodes.append(
                (operator, inputs, output, dict(_attribute(one) for one in _all(node, 5)))
            )
        self._constants = []
        for one in _all(graph, 5):
            name, tensor = _constant(one)
            self._constants.append(name)
            if name in learned:
                self.register_parameter(name, torch.nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    def forward(self, images: Any) -> Any:
        """Codes of images: uint8 or floats of 0 to 255, n x height x width x channels."""
        if images.ndim == 3:
            images = images.unsqueeze(-1)
        values = {name: getattr(self, name) for name in self._constants}
        values["images"] = images
        for operator, inputs, output, about in self._nodes:
            values[output] = _OPERATORS[operator]([values[name] for name in inputs], about)
        return values["codes"]
