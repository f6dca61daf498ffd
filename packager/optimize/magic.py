"""Recognizes files that are given in place of an ONNX model, by their first bytes.

Only so that the message can say what the file is and what to do: nothing is decided by it that the
ONNX parser does not decide itself.
"""

from __future__ import annotations

from dataclasses import dataclass

_EXPORT = "export the model to ONNX first, for instance with torch.onnx.export or optimum"

# (offset, bytes, what it is, next step)
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", ""),
    (0, b"\xff\xd8\xff", "a JPEG image", ""),
    (0, b"GIF8", "a GIF image", ""),
    (0, b"%PDF-", "a PDF document", ""),
    (0, b"\x7fELF", "an ELF program or library", ""),
    (0, b"\x1f\x8b", "a gzip file", "unpack it first"),
    (0, b"\xfd7zXZ\x00", "an xz file", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it first"),
    (0, b"PK\x03\x04", "a zip archive or a PyTorch checkpoint", _EXPORT),
    (0, b"GGUF", "a GGUF model", "use the ONNX export of the same model"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (4, b"ORTM", "a model in ORT format", "use the .onnx file that it was made from"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights)", "convert it with tf2onnx"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run: git lfs pull"),
    (0, b"\x80\x02", "a Python pickle (PyTorch checkpoint)", _EXPORT),
    (0, b"\x80\x03", "a Python pickle (PyTorch checkpoint)", _EXPORT),
    (0, b"\x80\x04", "a Python pickle (PyTorch checkpoint)", _EXPORT),
    (0, b"\x80\x05", "a Python pickle (PyTorch checkpoint)", _EXPORT),
    (8, b'{"', "a safetensors file", _EXPORT),
    (0, b"<!DOCTYPE", "an HTML page", "download the file itself, not the page about it"),
    (0, b"<html", "an HTML page", "download the file itself, not the page about it"),
)

HEAD = 512
"""How many bytes `recognize` wants to see."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a file is, in words, and what the user can do about it."""

    what: str
    next_step: str


def recognize(head: bytes) -> Recognized | None:
    """What the file that begins with `head` is; None when nothing is known about it."""
    for offset, magic, what, next_step in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return Recognized(what, next_step or "give the .onnx file of the model")
    if head.lstrip()[:1] in (b"{", b"[") and _is_text(head):
        return Recognized("a JSON document", "give the .onnx file of the model")
    if head and _is_text(head):
        return Recognized("a text file", "give the .onnx file of the model")
    return None


def begins_like_onnx(head: bytes) -> bool:
    """Whether the first field is `ir_version` (onnx.proto, ModelProto field 1), as writers do."""
    return len(head) >= 2 and head[0] == 0x08 and 1 <= head[1] <= 64


def _is_text(head: bytes) -> bool:
    """Printable ASCII with line ends and tabs, and nothing else."""
    return all(32 <= byte < 127 or byte in b"\t\n\r\f" for byte in head)
