"""Text models before the law: what fits, what is marked, and what is never called enforced."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from packager.catalogue import Catalogue
from packager.comply.deciding import decide
from packager.domain.decision import Decision, Status
from packager.domain.generation import Decoder, Generation, TextEngine
from packager.domain.serving import Serving

# Like a model of 8 billion parameters in FP32: 131 kB of keys and values a token and layer pair.
LARGE = Decoder(Path("m"), "model.onnx", 32, 8, 128, 128_256, 131_072, (2,), 1, 32_000_000_000)
SMALL = replace(LARGE, layers=2, kv_heads=2, head_size=48, weights=13_000_000)


@pytest.fixture
def decided(
    catalogue: Catalogue, asking: Callable[..., tuple[object, object]]
) -> Callable[..., dict[str, Decision]]:
    def ask(jurisdiction: str, region: str, generation: Generation | None, **more: object):  # type: ignore[no-untyped-def]
        target, request = asking(jurisdiction, [region], **more)
        request = replace(request, serving=Serving(generation=generation))  # type: ignore[type-var]
        return {one.control: one for one in decide(target, request, catalogue.country_of)}  # type: ignore[arg-type]

    return ask


def test_slots_that_do_not_fit_are_refused_with_what_would(
    decided: Callable[..., dict[str, Decision]],
) -> None:
    wanted = Generation(LARGE, 131_072, slots=64)
    refused = decided("de", "aws/eu-central-1", wanted)["generation/memory"]
    assert refused.status is Status.VIOLATED
    room = wanted.slots_within(128e9)
    assert f"slots: {room}" in (refused.remedy or "")
    fits = decided("de", "aws/eu-central-1", replace(wanted, slots=room))["generation/memory"]
    assert fits.status is Status.EVIDENCED
    more = decided("de", "aws/eu-central-1", replace(wanted, slots=room + 1))
    assert more["generation/memory"].status is Status.VIOLATED


def test_where_not_one_slot_fits_a_shorter_context_is_named(
    decided: Callable[..., dict[str, Decision]],
) -> None:
    huge = Generation(replace(LARGE, layers=256, context=1 << 20), 1 << 20)
    refused = decided("de", "aws/eu-central-1", huge)["generation/memory"]
    assert refused.status is Status.VIOLATED
    assert f"context: {huge.tokens_within(128e9, huge.weights())}" in (refused.remedy or "")
    heavy = Generation(replace(LARGE, weights=200_000_000_000), 4096)
    remedy = decided("de", "aws/eu-central-1", heavy)["generation/memory"].remedy or ""
    assert "the weights alone do not fit" in remedy


def engine(decided: Callable[..., dict[str, Decision]], text: Generation, on: str) -> Decision:
    return decided("de", "aws/eu-central-1", text, hardware=on)["generation/engine"]


def test_who_serves_follows_from_the_graph_and_the_hardware(
    decided: Callable[..., dict[str, Decision]],
) -> None:
    """Ours wherever it can; else the library's, which is said."""
    plain = Generation(replace(SMALL, objections=("it also reads position_ids",)), 1024)
    assert engine(decided, Generation(SMALL, 1024), "x86-64-v3").status is Status.EVIDENCED
    serial = engine(decided, plain, "x86-64-v3")
    assert serial.status is Status.EVIDENCED
    assert "served serially" in serial.why
    assert "position_ids" in serial.why
    on_gpu = engine(decided, Generation(SMALL, 1024), "nvidia-l4-cuda13")
    assert on_gpu.status is Status.LEFT_TO_OPERATOR, "nobody has seen it run there"
    assert "run on a CPU only" in on_gpu.why
    old = engine(decided, Generation(SMALL, 1024), "nvidia-l4")
    assert old.status is Status.VIOLATED
    assert "nvidia-l4-cuda13" in (old.remedy or "")
    named = Generation(SMALL, 1024, engine=TextEngine.LIBRARY)
    assert "waits until that is done" in engine(decided, named, "x86-64-v3").why


def test_what_no_engine_takes_is_refused(decided: Callable[..., dict[str, Decision]]) -> None:
    strange = Generation(
        replace(SMALL, objections=("it also reads pixels",), unknown=("it also reads pixels",)),
        1024,
    )
    refused = engine(decided, strange, "x86-64-v3")
    assert refused.status is Status.VIOLATED
    assert "pixels" in refused.why
    serial = Generation(SMALL, 1024, engine=TextEngine.GENERATOR)
    assert engine(decided, serial, "nvidia-l4-cuda13").status is Status.VIOLATED


def test_europe_s_mark_is_enforced_and_named_by_its_record(
    decided: Callable[..., dict[str, Decision]],
) -> None:
    made = decided("de", "aws/eu-central-1", Generation(SMALL, 1024))["eu/ai-act-marking"]
    assert made.status is Status.ENFORCED
    assert made.by == ("evidence/images/de-x86-64-v3-kubernetes.json",)
    told = decided("de", "aws/eu-central-1", Generation(SMALL, 1024))["eu/ai-act-transparency"]
    assert told.status is Status.LEFT_TO_OPERATOR


@pytest.mark.parametrize(
    ("jurisdiction", "region", "control"),
    [("cn", "aws/cn-north-1", "cn/labels"), ("kr", "aws/ap-northeast-2", "kr/ai-notice")],
)
def test_where_people_must_see_a_label_a_header_enforces_nothing(
    decided: Callable[..., dict[str, Decision]], jurisdiction: str, region: str, control: str
) -> None:
    for producer in (None, "Example Ltd"):
        made = decided(jurisdiction, region, Generation(SMALL, 1024, producer=producer))[control]
        assert made.status is Status.LEFT_TO_OPERATOR
        assert "label" in made.why
    assert ("without a producer" in made.why) is (producer is None and jurisdiction == "cn")


def test_a_model_of_tensors_is_decided_as_ever(
    decided: Callable[..., dict[str, Decision]],
) -> None:
    found = decided("cn", "aws/cn-north-1", None)
    assert "generation/memory" not in found
    assert "AIGC" not in found["cn/labels"].why.split("Note:")[0]
