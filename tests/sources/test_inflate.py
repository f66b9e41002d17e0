from __future__ import annotations

import gzip
import io
import random
import zlib
from collections.abc import Callable

import pytest
import zstandard

from streams.sources.inflate import PIECE, BrokenInputError, Inflated, compression, inflate, pieces

LIMIT = 32 * 1024 * 1024
NOISE = random.Random(1).randbytes(3 * PIECE + 7)
CODECS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zlib": zlib.compress, "zstd": zstandard.compress}
CONTENTS = [b"", b"a", b"x" * (5 * PIECE), b"x" * PIECE, NOISE, b"ab\n" * 1_000_001]

every_codec = pytest.mark.parametrize("kind", CODECS)
every_content = pytest.mark.parametrize("content", CONTENTS, ids=len)


@every_codec
@every_content
def test_what_was_compressed_comes_back(kind: str, content: bytes) -> None:
    packed = CODECS[kind](content)

    assert compression(packed) == kind
    assert inflate(packed, LIMIT) == Inflated(content)


@every_codec
@every_content
def test_members_in_a_row_are_read_as_one(kind: str, content: bytes) -> None:
    packed = CODECS[kind](content)

    assert inflate(packed + b"\n" + packed + b"\0\0\n", LIMIT) == Inflated(content + content)


@every_codec
@every_content
def test_a_cut_gives_what_was_before_it_and_says_so(kind: str, content: bytes) -> None:
    found = inflate(CODECS[kind](content)[:-1], LIMIT)

    assert found.error == "bad_gzip"
    assert content.startswith(found.data)


@every_codec
def test_something_else_behind_it_is_told(kind: str) -> None:
    assert inflate(CODECS[kind](b"good") + b"bad", LIMIT) == Inflated(b"good", "bad_gzip")


@every_codec
def test_the_limit_is_exact(kind: str) -> None:
    packed = CODECS[kind](b"x" * 1000)

    assert inflate(packed, 1000).error is None
    assert inflate(packed, 999) == Inflated(b"", "too_large")


def test_a_changed_byte_is_told() -> None:
    packed = bytearray(gzip.compress(b"some content"))
    packed[-6] ^= 1

    assert inflate(bytes(packed), LIMIT).error == "bad_gzip"


@pytest.mark.parametrize("text", [b"", b"2 123", b"x^ marks a line", b"xylophone", b"{}", b"\x1f", b"PAR1"])
def test_text_is_not_taken_for_compressed(text: bytes) -> None:
    assert compression(text) is None


def test_pieces_are_small_whatever_the_bomb() -> None:
    bomb = gzip.compress(b"\0" * (20 * PIECE))

    assert {len(piece) for piece in pieces(io.BytesIO(bomb), "gzip")} == {PIECE}


def test_bytes_of_no_kind_pass_as_they_are() -> None:
    assert b"".join(pieces(io.BytesIO(NOISE), None)) == NOISE


def test_reading_stops_with_an_error_where_it_breaks() -> None:
    with pytest.raises(BrokenInputError):
        list(pieces(io.BytesIO(b"\x1f\x8bnot gzip"), "gzip"))
