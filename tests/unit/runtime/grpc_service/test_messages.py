"""`messages.desc` is what protoc makes of the `.proto` files beside it, and nothing else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from packager.runtime import grpc_service

FOLDER = Path(grpc_service.__file__).parent


def test_the_descriptor_is_made_of_the_proto_files(tmp_path: Path) -> None:
    made = tmp_path / "made.desc"
    names = sorted(path.name for path in FOLDER.glob("*.proto"))
    assert names == ["health.proto", "open_inference.proto"]
    arguments = ["protoc", f"-I{FOLDER}", f"-I{files('grpc_tools') / '_proto'}"]
    assert protoc.main([*arguments, f"--descriptor_set_out={made}", *names]) == 0
    kept = FileDescriptorSet.FromString((FOLDER / "messages.desc").read_bytes())
    fresh = FileDescriptorSet.FromString(made.read_bytes())
    assert {file.name: file for file in kept.file} == {file.name: file for file in fresh.file}
