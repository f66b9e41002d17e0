"""Compressed bytes -> bytes, in bounded memory. What it is, its first bytes tell; names and headers lie."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import zstandard

Kind = Literal["gzip", "zlib", "zstd"]

PIECE = 1024 * 1024
"""Bytes that are decompressed at a time."""

_WINDOW = 128 * 1024 * 1024
_PADDING = b"\0\r\n \t"
_ZLIB_HEADERS = frozenset((b"\x78\x01", b"\x78\x9c", b"\x78\xda"))


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class BrokenInputError(Exception):
    """Compressed data that ends early, is damaged, or has something else behind it. What came before it is good."""


@dataclass(frozen=True)
class Inflated:
    """data: what could be read. error: None, `too_large` or `bad_gzip` (reject reasons); the data is then not whole."""

    data: bytes
    error: str | None = None


def compression(head: bytes) -> Kind | None:
    """What compressed `head`, the first bytes of something; None: nothing that we know.

    `x^` is a zlib header too, but also two letters of text, and no sender of flow logs uses that level.
    """
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "zstd"
    return "zlib" if head[:2] in _ZLIB_HEADERS else None


def inflate(payload: bytes, limit_bytes: int) -> Inflated:
    """Decompress a whole payload of a kind that `compression` knows. Holds no more than `limit_bytes` and a piece."""
    found: list[bytes] = []
    size = 0
    try:
        for piece in pieces(io.BytesIO(payload), compression(payload)):
            size += len(piece)
            if size > limit_bytes:
                return Inflated(b"", "too_large")
            found.append(piece)
    except BrokenInputError:
        return Inflated(b"".join(found), "bad_gzip")
    return Inflated(b"".join(found))


def pieces(stream: Readable, kind: Kind | None) -> Iterator[bytes]:
    """The decompressed bytes of a stream, about PIECE at a time; several members are read as one.

    Raises BrokenInputError.
    """
    if kind is None:
        return iter(lambda: stream.read(PIECE), b"")
    return _members(stream, _CODECS[kind])


class _Member(Protocol):
    """What zlib.decompressobj gives."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _ZstdMember:
    """A zstd frame as zlib shows its members. It can't stop at a length; `_Codec.read_bytes` bounds what comes out."""

    unconsumed_tail = b""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: bytes, _: int, /) -> bytes:
        return self._frame.decompress(data)


class _Codec(NamedTuple):
    start: Callable[[], _Member]
    error: type[Exception]
    read_bytes: int


# zstandard's own stream reader takes a cut file for a whole one, so frames are fed by hand. A block of zstd has 4 bytes
# at least and decompresses to 128 KiB at most: 512 bytes are 16 MiB at most.
_GZIP = _Codec(lambda: zlib.decompressobj(32 + zlib.MAX_WBITS), zlib.error, 64 * 1024)
_CODECS = {"gzip": _GZIP, "zlib": _GZIP, "zstd": _Codec(_ZstdMember, zstandard.ZstdError, 512)}


def _members(stream: Readable, codec: _Codec) -> Iterator[bytes]:
    member: _Member | None = None
    whole = False
    while data := stream.read(codec.read_bytes):
        while data:
            if member is None:
                # Firehose's AppendDelimiterToRecord puts a newline behind each member, tape blocks end in zeros.
                data = data.lstrip(_PADDING) if whole else data
                member = codec.start() if data else None
                continue
            piece = _step(member, data, codec.error)
            if piece:
                yield piece
            data = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member, whole = None, True
    if member is not None:
        message = "the end is missing"
        raise BrokenInputError(message)


def _step(member: _Member, data: bytes, error: type[Exception]) -> bytes:
    try:
        return member.decompress(data, PIECE)
    except error as found:
        raise BrokenInputError(str(found)) from None
