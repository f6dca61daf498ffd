"""The rule table: what is tried where, and what is refused with which reason."""

from __future__ import annotations

from dataclasses import replace

from packager.domain.artifact import Platform
from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.candidates import Illegal, Recipe, candidates

TRANSFORMER = Anatomy({"MatMul": 12, "Softmax": 2}, Precision.FP32, False, ())
CNN = Anatomy({"Conv": 5, "Gemm": 1}, Precision.FP32, False, ())


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
    assert set(_recipes(TRANSFORMER, cpu)) == {"source", "graph-extended", "int8-dynamic"}
    assert {"int8-static", "int8-static-conv"} <= set(_recipes(CNN, cpu))
    assert _parameters(_recipes(CNN, cpu)["int8-dynamic"])["operators"] == ("Gemm",)


def test_int8_is_refused_on_cuda_and_where_the_profile_lacks_it(
    cpu: HardwareProfile, gpu: HardwareProfile
) -> None:
    refused = _illegal(CNN, gpu)
    assert set(refused) == {"graph-extended", "int8-dynamic", "int8-static", "int8-static-conv"}
    assert "CUDA" in refused["int8-static"].reason
    without = replace(cpu, precisions={Precision.FP32: 1.0})
    assert "lists no int8" in _illegal(CNN, without)["int8-static"].reason
    other = replace(cpu, execution_provider="QNNExecutionProvider")
    assert "symmetric" in _illegal(CNN, other)["int8-dynamic"].reason


def test_weights_keep_to_seven_bits_without_vnni_on_x86_only(cpu: HardwareProfile) -> None:
    without = replace(cpu, instructions=frozenset({"avx2"}))
    arm = replace(without, platform=Platform("linux", "arm64"))
    for hardware, reduced in ((cpu, False), (without, True), (arm, False)):
        for name in ("int8-dynamic", "int8-static"):
            assert _parameters(_recipes(CNN, hardware)[name])["reduce_range"] is reduced


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
