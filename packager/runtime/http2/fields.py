"""Header blocks: those of requests, read by hpack, and those of answers, which need no table.

A client that keeps its connection soon sends the same few indexes with every request. A block that
leaves the table as it was means the same again as long as the table stays, so what it meant is
remembered until a block changes the table. Sources: RFC 7541; RFC 9113, section 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from hpack import Decoder, HPACKError

from .faults import ConnectionFault, ErrorCode
from .frames import END_HEADERS, END_STREAM, HEADERS

_REMEMBERED = 16
_LONGEST_REMEMBERED = 1024
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD_VALUE = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]$")
_OF_CONNECTIONS = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
}
_PSEUDO = {b":method", b":scheme", b":path", b":authority"}
_DEMANDED = {b":method", b":scheme", b":path"}
Field = tuple[bytes, bytes]


class Malformed(Exception):
    """A head that breaks HTTP's rules; its stream is at fault, not the connection."""


class Head:
    """The head of a request: `fields` by name, several of one name joined by commas, and
    `length`, the declared size of the body. `plan` is for whoever handles it to remember what it
    made of the head."""

    __slots__ = ("fields", "length", "method", "path", "plan")

    def __init__(self, fields: dict[bytes, bytes], length: int | None) -> None:
        self.method = fields.pop(b":method")
        self.path = fields.pop(b":path")
        self.fields = fields
        self.length = length
        self.plan: Any = None


class HeaderBlocks:
    """Reads the blocks of one connection, in their order; no head is larger than `most` bytes."""

    __slots__ = ("_decoder", "_known")

    def __init__(self, most: int) -> None:
        self._decoder = Decoder(most)
        self._known: dict[bytes, Head] = {}

    def head(self, block: bytes) -> Head:
        """The head of a request; raises ConnectionFault for what cannot be read, Malformed for
        what may not be said."""
        known = self._known.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table
        before = (len(table.dynamic_entries), _first(table), table.maxsize)
        fields = self._read(block)
        count, first, size = len(table.dynamic_entries), _first(table), table.maxsize
        changed = count != before[0] or first is not before[1] or size != before[2]
        if changed:
            self._known.clear()
        head = head_of(fields)
        if not changed and len(block) <= _LONGEST_REMEMBERED:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[block] = head
        return head

    def trailers(self, block: bytes) -> None:
        """What follows a body: read for the table's sake and checked; raises as `head` does."""
        self._known.clear()
        for name, value in self._read(block):
            _check(name, value)
            if name.startswith(b":"):
                raise Malformed

    def skip(self, block: bytes) -> None:
        """A block whose stream is of no interest; the table has to know it all the same."""
        self._known.clear()
        self._read(block)

    def _read(self, block: bytes) -> list[Field]:
        try:
            return [(field[0], field[1]) for field in self._decoder.decode(block, raw=True)]
        except (HPACKError, IndexError, ValueError) as error:
            # The table is no longer the peer's, so nothing that follows could be read.
            raise ConnectionFault(
                ErrorCode.COMPRESSION_ERROR, "a header block cannot be read, or is too large"
            ) from error


def head_of(given: Iterable[Field]) -> Head:
    """What the fields of a request say; raises Malformed. RFC 9113, sections 8.2 and 8.3."""
    fields: dict[bytes, bytes] = {}
    regular = False
    for name, value in given:
        if name.startswith(b":"):
            if regular or name not in _PSEUDO or name in fields or _BAD_VALUE.search(value):
                raise Malformed
        else:
            regular = True
            _check(name, value)
        fields[name] = b"%b, %b" % (fields[name], value) if name in fields else value
    if not fields.keys() >= _DEMANDED or not fields[b":path"].startswith((b"/", b"*")):
        raise Malformed
    declared = fields.get(b"content-length")
    if declared is not None and not (declared.isdigit() and len(declared) < 19):
        raise Malformed
    return Head(fields, None if declared is None else int(declared))


def _check(name: bytes, value: bytes) -> None:
    if not name.startswith(b":") and not _NAME.fullmatch(name):
        raise Malformed
    if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
        raise Malformed
    if _BAD_VALUE.search(value):
        raise Malformed


def _first(table: Any) -> object:
    return table.dynamic_entries[0] if table.dynamic_entries else None


class Block(NamedTuple):
    """A header block to send, with the beginnings of the HEADERS frame that carries it: `opening`
    the answer, or `closing` it."""

    data: bytes
    opening: bytes
    closing: bytes

    @classmethod
    def of(cls, *fields: Field, status: int | None = None) -> Block:
        """Fields as literals that no table takes up, so that the bytes are always the same."""
        parts = [] if status is None else [_status(status)]
        parts += [b"\0" + _text(name) + _text(value) for name, value in fields]
        return cls.framed(b"".join(parts))

    @classmethod
    def framed(cls, data: bytes) -> Block:
        size = len(data).to_bytes(3, "big") + bytes([HEADERS])
        return cls(data, size + bytes([END_HEADERS]), size + bytes([END_HEADERS | END_STREAM]))

    def behind_table_update(self) -> Block:
        """The same for a peer that wants a smaller table: ours is empty. RFC 7541, section 4.2."""
        return Block.framed(b"\x20" + self.data)


def _status(status: int) -> bytes:
    """200 is number 8 of the static table; the name of all others is there as well."""
    return b"\x88" if status == 200 else b"\x08\x03%d" % status


def _text(text: bytes) -> bytes:
    return _length(len(text)) + text


def _length(size: int) -> bytes:
    """An integer with a prefix of 7 bits. RFC 7541, section 5.1."""
    if size < 0x7F:
        return bytes([size])
    rest, found = size - 0x7F, bytearray(b"\x7f")
    while rest >= 0x80:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)
