"""Weights of matrix products in 4 or 8 bits with one scale for each block of the inner dimension.

Makes ONNX Runtime's operator com.microsoft.MatMulNBits (docs/ContribOperators.md): weights packed
as [N, blocks, block × bits / 8] unsigned, low bits first, scales as [N, blocks]; without zero
points the middle of the range (8 or 128) is zero. Plain rounding to nearest; written here because
the tool that ships with ONNX Runtime needs two further packages of a hundred megabytes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_DOMAIN = "com.microsoft"


def block_weights(model: onnx.ModelProto, bits: int, block: int, accuracy: int) -> int:
    """Rewrite the products with a constant right side in place; how many there were.

    `accuracy` 4 lets kernels quantize activations to 8 bits while they run.
    """
    weights = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
    done: dict[str, tuple[str, str]] = {}
    nodes: list[onnx.NodeProto] = []
    changed = 0
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.domain or node.input[1] not in weights:
            nodes.append(node)
            continue
        name = node.input[1]
        rows, columns = weights[name].dims
        if rows < block:
            nodes.append(node)
            continue
        if name not in done:
            packed, scales = pack(numpy_helper.to_array(weights[name]), bits, block)
            done[name] = (f"{name}__q{bits}", f"{name}__scales")
            model.graph.initializer.append(numpy_helper.from_array(packed, done[name][0]))
            model.graph.initializer.append(numpy_helper.from_array(scales, done[name][1]))
        changed += 1
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                [node.input[0], *done[name]],
                list(node.output),
                name=node.name,
                domain=_DOMAIN,
                K=rows,
                N=columns,
                bits=bits,
                block_size=block,
                accuracy_level=accuracy,
            )
        )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused(model, set(done))
    if changed and all(entry.domain != _DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return changed


def pack(
    weight: NDArray[np.float32], bits: int, block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A [K, N] matrix as packed [N, blocks, bytes] and its [N × blocks] scales."""
    rows, columns = weight.shape
    count = -(-rows // block)
    padded = np.zeros((columns, count * block), np.float32)
    padded[:, :rows] = weight.T
    groups = padded.reshape(columns, count, block)
    middle = 1 << (bits - 1)
    # The value of largest magnitude, with its sign, falls on -middle: one step more than the
    # positive side has, and none is clipped by more than half a step.
    place = np.abs(groups).argmax(axis=2)[..., None]
    peak = np.take_along_axis(groups, place, axis=2)[..., 0]
    scales = (-peak / middle).astype(np.float32)
    divisor = np.where(scales == 0, 1, scales)[..., None]
    codes = np.clip(np.rint(groups / divisor) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        codes = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return np.ascontiguousarray(codes), np.ascontiguousarray(scales.reshape(-1))


def _drop_unused(model: onnx.ModelProto, names: set[str]) -> None:
    """Remove the float weights that nothing reads any more."""
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(output.name for output in model.graph.output)
    gone = {name for name in names if not uses[name]}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in gone]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    inputs = [one for one in model.graph.input if one.name not in gone]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
