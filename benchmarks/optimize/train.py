"""Trains the weights of an ONNX classifier where they stand: the graph is run in torch, operator by
operator, and what was learned goes back into the same graph.

`python train.py MODEL.onnx SAMPLES.npz TRAINED.onnx [--steps N]` in an environment of its own that
has torch and onnx; it knows nothing of packager. SAMPLES.npz holds the model's inputs and `labels`.
Seeds are fixed and torch is told to be deterministic; on another processor the last bits differ, so
what a benchmark tells of the trained model is told with its digest.
"""

import argparse
import hashlib
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

BATCH, RATE, DECAY = 32, 1e-3, 0.01
SPREAD = 0.02
"""Of all matrices at first, as BERT is begun with (Devlin et al., 2019): layers then add a little
to what comes from below. With the larger spread of the graph's own weights each scrambles it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("trained", type=Path)
    parser.add_argument("--steps", type=int, default=120)
    asked = parser.parse_args()
    torch.manual_seed(5)
    torch.use_deterministic_algorithms(True)
    proto = onnx.load(asked.model)
    with np.load(asked.samples) as archive:
        arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
    labels = arrays.pop("labels")
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in proto.graph.initializer
    }
    for weight in weights.values():
        if weight.is_floating_point() and weight.ndim == 2:
            weight *= SPREAD / weight.std()
    learned = {name: w for name, w in weights.items() if w.is_floating_point() and w.ndim}
    for weight in learned.values():
        weight.requires_grad_()
    optimizer = torch.optim.AdamW(learned.values(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=asked.steps, pct_start=0.1
    )
    order = torch.randperm(len(labels))
    started = time.monotonic()
    for step in range(asked.steps):
        chosen = order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(order)]
        given = {name: array[chosen] for name, array in arrays.items()}
        logits = run(proto.graph, weights, given)
        loss = torch.nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0 or step == asked.steps - 1:
            right = (logits.argmax(-1) == labels[chosen]).float().mean()
            spent = time.monotonic() - started
            print(f"{step:4d} loss {loss:.3f} right {right:.2f} {spent:.0f} s", flush=True)
    for tensor in proto.graph.initializer:
        if tensor.name in learned:
            array = learned[tensor.name].detach().numpy()
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    asked.trained.write_bytes(proto.SerializeToString(deterministic=True))
    print(hashlib.sha256(asked.trained.read_bytes()).hexdigest())


def run(graph: onnx.GraphProto, weights: dict, given: dict) -> torch.Tensor:
    """The first output."""
    values = {**weights, **given}
    for node in graph.node:
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](told, *(values[n] for n in node.input))
    return values[graph.output[0].name]


def reshape(_, x, shape):
    sizes = [x.shape[at] if size == 0 else size for at, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def unsqueeze(_, x, axes):
    for axis in sorted(axes.tolist()):
        x = x.unsqueeze(axis)
    return x


OPERATORS = {
    "Add": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "Div": lambda _, a, b: a / b,
    "MatMul": lambda _, a, b: a @ b,
    "Gemm": lambda _, a, b, c: a @ b + c,
    "Gather": lambda _, table, at: table[at],
    "Cast": lambda told, x: x.to({1: torch.float32}[told["to"]]),
    "Erf": lambda _, x: torch.erf(x),
    "Softmax": lambda told, x: x.softmax(told["axis"]),
    "Transpose": lambda told, x: x.permute(*told["perm"]),
    "ReduceMean": lambda told, x: x.mean(told["axes"], keepdim=bool(told["keepdims"])),
    "LayerNormalization": lambda told, x, scale, bias: torch.nn.functional.layer_norm(
        x, scale.shape, scale, bias, told["epsilon"]
    ),
    "Reshape": reshape,
    "Unsqueeze": unsqueeze,
}


if __name__ == "__main__":
    main()
