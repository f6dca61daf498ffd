"""The rule table: what is tried where, and what is refused with which reason."""

from __future__ import annotations

from dataclasses import replace

from packager.domain.artifact import Platform
from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.candidates import candidates
from packager.optimize.recipes import Illegal, Recipe

TRANSFORMER = Anatomy({"MatMul": 12, "Softmax": 2}, Precision.FP32, False, (), matrix_share=0.5)
CNN = Anatomy({"Conv": 5, "Gemm": 1}, Precision.FP32, False, (), convolution_share=0.9)


def _recipes(anatomy: Anatomy, hardware: HardwareProfile) -> dict[str, Recipe]:
    rows = candidates(anatomy, hardware)
    return {row.name: row for row in rows if isinstance(row, Recipe)}


def _illegal(anatomy: Anatomy, hardware: HardwareProfile) -> dict[str, Illegal]:
    rows = candidates(anatomy, hardware)
    return {row.name: row for row in rows if isinstance(row, Illegal)}


def _parameters(recipe: Recipe) -> dict[str, object]:
    return dict(recipe.passes[0].parameters)


def test_the_source_comes_first_and_is_always_there(
    cpu: HardwareProfile, gpu: HardwareProfile
) -> None:
    for hardware in (cpu, gpu):
        first = candidates(Anatomy({}, Precision.FP32, False, ()), hardware)[0]
        assert isinstance(first, Recipe)
        assert (first.name, first.passes) == ("source", ())


def test_dynamic_for_transformers_static_for_convolutions(cpu: HardwareProfile) -> None:
    blocks = {"int8-blocks", "int4-blocks"}
    lossless = {"source", "graph-extended", "fused"}
    assert set(_recipes(TRANSFORMER, cpu)) == lossless | blocks | {"fp16-stored", "int8-dynamic"}
    assert {"int8-static", "int8-static-conv"} <= set(_recipes(CNN, cpu))
    assert _parameters(_recipes(CNN, cpu)["int8-dynamic"])["operators"] == ("Gemm",)


def test_int8_is_refused_on_cuda_and_where_the_profile_lacks_it(
    cpu: HardwareProfile, gpu: HardwareProfile
) -> None:
    refused = _illegal(CNN, gpu)
    assert {"int8-dynamic", "int8-static", "int8-static-conv"} < set(refused)
    assert "CUDA" in refused["int8-static"].reason
    for anatomy in (CNN, TRANSFORMER):
        made = [step.name for one in _recipes(anatomy, gpu).values() for step in one.passes]
        assert not {"quantize_static", "quantize_dynamic"} & set(made)
    without = replace(cpu, precisions={Precision.FP32: 1.0})
    assert "lists no int8" in _illegal(CNN, without)["int8-static"].reason


def test_what_nobody_looked_up_is_not_tried(cpu: HardwareProfile) -> None:
    stranger = replace(cpu, execution_provider="StrangeExecutionProvider")
    for anatomy in (CNN, TRANSFORMER):
        assert set(_recipes(anatomy, stranger)) == {"source"}


def test_tensorrt_takes_symmetric_explicit_qdq_or_half_precision_only(
    cpu: HardwareProfile,
) -> None:
    formats = {Precision.FP16: None, Precision.BF16: None, Precision.INT8: None}
    tensorrt = replace(cpu, execution_provider="TensorrtExecutionProvider", precisions=formats)
    free = replace(TRANSFORMER, free_dimensions=True)
    recipes = _recipes(free, tensorrt)
    assert set(recipes) == {"source", "fp16", "bf16", "int8-static"}
    fixed, quantized = recipes["int8-static"].passes
    assert fixed.name == "fix_shapes"
    told = dict(quantized.parameters)
    assert (told["activations"], told["weights"], told["format"]) == ("S8", "S8", "QDQ")
    assert told["reduce_range"] is False


def test_half_precision_on_a_gpu(gpu: HardwareProfile) -> None:
    whole = replace(gpu, precisions={Precision.FP16: 1.0, Precision.BF16: 1.0})
    recipes = _recipes(TRANSFORMER, whole)
    assert {"fp16", "fused-fp16", "bf16", "int4-blocks"} < set(recipes)
    assert recipes["fp16"].emulated
    assert recipes["fp16"].needs_calibration
    assert "25740" in _illegal(CNN, whole)["bf16"].reason
    turing = replace(gpu, precisions={Precision.FP16: 1.0})
    assert "lists no bf16" in _illegal(TRANSFORMER, turing)["bf16"].reason


def test_an_old_opset_is_converted_before_what_needs_a_new_one(cpu: HardwareProfile) -> None:
    old = replace(CNN, opset=9)
    recipes = _recipes(old, cpu)
    for name in ("int8-static", "int8-dynamic"):
        assert str(recipes[name].passes[0]) == "convert_opset(to=17)"
    assert recipes["fp16-stored"].passes[0].name == "store_half"


def test_embeddings_are_quantized_where_they_are_large(cpu: HardwareProfile) -> None:
    large = replace(TRANSFORMER, operators={"MatMul": 2, "Gather": 1}, embedding_share=0.5)
    operators = _parameters(_recipes(large, cpu)["int8-dynamic-embedding"])["operators"]
    assert operators == ("Gather", "MatMul")
    assert "int8-dynamic-embedding" not in _recipes(TRANSFORMER, cpu)


def test_weights_keep_to_seven_bits_without_vnni_on_x86_only(cpu: HardwareProfile) -> None:
    without = replace(cpu, instructions=frozenset({"avx2"}))
    arm = replace(without, platform=Platform("linux", "arm64"))
    for hardware, reduced in ((cpu, False), (without, True), (arm, False)):
        for name in ("int8-dynamic", "int8-static"):
            assert _parameters(_recipes(CNN, hardware)[name])["reduce_range"] is reduced


def test_weights_that_passes_would_not_find_are_folded_first(cpu: HardwareProfile) -> None:
    """Paddle's weights stand in nodes; a normalization of batches belongs to its convolution."""
    plain = replace(CNN, weights_in_nodes=True)
    normalized = replace(CNN, operators={**CNN.operators, "BatchNormalization": 3})
    for anatomy, folded in ((CNN, False), (plain, True), (normalized, True)):
        rows = {row.name: row for row in candidates(anatomy, cpu) if isinstance(row, Recipe)}
        for name in ("int8-static-conv", "fp16-stored"):
            levels = [dict(step.parameters).get("level") for step in rows[name].passes]
            assert ("basic" in levels) is folded


def test_what_stands_between_convolutions_is_quantized_as_well_where_that_pays(
    cpu: HardwareProfile, gpu: HardwareProfile
) -> None:
    residual = replace(CNN, operators={**CNN.operators, "Add": 4, "MaxPool": 2, "Erf": 1})
    whole = _recipes(residual, cpu)["int8-static-whole"]
    assert _parameters(whole)["operators"] == ("Conv", "Gemm", "Add", "MaxPool")
    assert "int8-static-whole" not in _recipes(CNN, cpu)  # it would be the same as int8-static
    assert "int8-static-whole" not in _recipes(residual, gpu) | _illegal(residual, gpu)
    tensorrt = replace(gpu, execution_provider="TensorrtExecutionProvider")
    assert "int8-static-whole" not in _recipes(residual, tensorrt)


def test_a_quantized_model_is_not_quantized_again(cpu: HardwareProfile) -> None:
    done = Anatomy({"Conv": 1, "QuantizeLinear": 3}, Precision.FP32, False, ())
    half = Anatomy({"Conv": 1}, Precision.FP16, False, ())
    for anatomy in (done, half):
        assert set(_recipes(anatomy, cpu)) == {"source", "graph-extended"}


def test_passes_are_told_with_all_parameters(cpu: HardwareProfile) -> None:
    text = str(_recipes(CNN, cpu)["int8-static"].passes[0])
    assert text == (
        "quantize_static(format=QDQ, operators=Conv+Gemm, activations=U8, weights=S8,"
        " per_channel=yes, reduce_range=no, calibration=minmax)"
    )
