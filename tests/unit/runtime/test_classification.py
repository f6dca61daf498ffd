"""The highest values of an output in place of all of them (Triton's classification extension)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, brightness, tensor

from packager.runtime.classification import checked_count, classified
from packager.runtime.datatypes import DATATYPES, TensorSpec
from packager.runtime.errors import RequestError

LABELS = ("apple", "pear")
OF_SCORES: dict[str, Any] = {"outputs": [{"name": "scores", "parameters": {"classification": 2}}]}


def settings(*, rows: bool = True, labels: tuple[str, ...] = (), output: str | None = None) -> Any:
    return SimpleNamespace(
        takes_rows=rows,
        serving=SimpleNamespace(labels=labels, output=output) if labels else None,
        outputs=(SimpleNamespace(name="y"),),
    )


def classes(array: Any, count: int, datatype: str = "FP32", **of: Any) -> Any:
    kind = DATATYPES[datatype]
    values = np.array(array, kind.dtype)
    spec, found = classified(settings(**of), TensorSpec("y", kind, (-1, -1)), values, count)
    assert spec.datatype.name == "BYTES"
    return found.tolist()


def test_the_highest_first_as_triton_writes_them() -> None:
    assert classes([[1.1, 3.3, 0.5, 2.4]], 2) == [["3.300000:1", "2.400000:3"]]
    assert classes([[1, 5, 10, 4]], 2, "INT64") == [["10:2", "5:1"]]


def test_labels_as_far_as_there_are_any() -> None:
    found = classes([[1, 5, 10]], 3, "UINT8", labels=LABELS)
    assert found == [["10:2", "5:1:pear", "1:0:apple"]]
    assert classes([[1, 5]], 1, "UINT8", labels=LABELS, output="other") == [["5:1"]]


def test_without_rows_the_output_is_one() -> None:
    assert classes([[1, 3], [4, 2]], 3, "INT32", rows=False) == ["4:2", "3:1", "2:3"]


def test_no_more_than_there_are() -> None:
    assert classes([[1, 2], [4, 3]], 99, "INT32") == [["2:1", "1:0"], ["4:0", "3:1"]]
    assert classes(np.zeros((0, 3)), 2) == []
    assert classes([7, 9], 2, "INT32") == [["7:0"], ["9:0"]]


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT64", "INT64", "FP16", "FP32", "FP64"])
def test_of_equal_ones_the_first_comes_first(datatype: str) -> None:
    found = classes([[0, 1, 1, 0, 1]], 5, datatype)[0]
    assert [int(text.split(":")[1]) for text in found] == [1, 2, 4, 0, 3]


def test_what_is_no_number_is_below_all() -> None:
    assert classes([[np.nan, -np.inf, 1.0]], 3)[0] == ["1.000000:2", "-inf:1", "nan:0"]


def test_the_ends_of_whole_numbers() -> None:
    assert classes([[0, (1 << 64) - 1]], 1, "UINT64") == [["18446744073709551615:1"]]
    assert classes([[-128, 127, 0]], 3, "INT8") == [["127:1", "0:2", "-128:0"]]


def test_more_than_an_answer_may_hold() -> None:
    with pytest.raises(RequestError, match="70000 classes are too many"):
        classes(np.zeros((7, 10_000)), 10_000)


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "BF16"])
def test_what_has_no_order_has_no_classes(datatype: str) -> None:
    spec = TensorSpec("y", DATATYPES[datatype], (-1, 2))
    assert checked_count(spec, 0) == 0
    with pytest.raises(RequestError, match="has no classes"):
        checked_count(spec, 1)


@pytest.mark.parametrize("most", [0, 4])
def test_over_rest(tmp_path: Any, most: int) -> None:
    """JSON and binary, labels, rows beside each other, whether batches pay or not, and an output
    that is wanted twice."""
    folder = RuntimeFolder(tmp_path)
    x, y = tensor("image", "FP32", [-1, 3, 4, 6]), tensor("scores", "FP32", [-1, 3])
    scores = np.array([[1, 3, 2], [9, 7, 8]], np.float32)
    images = np.repeat(scores, 24, axis=1).reshape(2, 3, 4, 6)
    golden = {"input.image": images, "output.scores": scores}
    model = folder.add("bright", brightness(), [x], [y], golden=golden)
    model["batching"] = {"max_batch_size": most}
    image = {"width": 6, "height": 4, "channels_first": True, "mean": [0] * 3, "std": [1] * 3}
    model["serving"] = {"task": "image-classification", "labels": ["r", "g"], "image": image}
    given = {"name": "image", "datatype": "FP32", "shape": [2, 3, 4, 6]}
    given |= {"data": images.ravel().tolist()}
    with RuntimeProcess(folder.write()) as process:
        client = process.wait_ready().client()
        assert "classification" in client.get("/v2")[1]["extensions"]
        status, answer = client.infer("bright", {"inputs": [given]} | OF_SCORES)
        assert status == 200, answer
        (output,) = answer["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
        assert output["data"] == ["3.000000:1:g", "2.000000:2", "9.000000:0:r", "8.000000:2"]
        # The same again, which is read quickly, and twice, which is answered once.
        twice = {"inputs": [given], "outputs": OF_SCORES["outputs"] * 2}
        assert client.infer("bright", twice)[1]["outputs"] == answer["outputs"]
        assert client.infer("bright", {"inputs": [given]} | OF_SCORES)[1] == answer
        wishes = [*OF_SCORES["outputs"], {"name": "scores", "parameters": []}]
        status, answer = client.infer("bright", {"inputs": [given], "outputs": wishes})
        assert (status, "in two ways" in answer["error"]) == (400, True)
        plain = client.infer("bright", {"inputs": [given | {"parameters": []}]})[1]
        plain = plain["outputs"][0]
        assert (plain["datatype"], plain["shape"]) == ("FP32", [2, 3])
        client.close()
