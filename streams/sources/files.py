"""Files, folders and standard input -> pieces of lines, and raw messages of them. Bounded memory, whatever the size.

What a file is, its first bytes say: gzip, zstd or neither, then text, JSON or Parquet. What is broken costs itself: a
cut gzip gives what can be read of it and an error, and the other files go on.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import orjson
import polars as pl

from streams.core.raw import TARGET_BYTES, RawMessage, split_lines
from streams.sources import parquet
from streams.sources.decode import decode, looks_like_json
from streams.sources.headers import cut_at_headers
from streams.sources.inflate import PIECE, BrokenInputError, Readable, compression
from streams.sources.inflate import pieces as inflated
from streams.sources.messages import Arrival, unread

log = logging.getLogger(__name__)

STDIN = Path("-")
SOURCE = "file"

LONGEST_LINE = 1024 * 1024
"""Bytes of a line that is still given whole, for the parser to judge; of a longer one KEPT bytes are."""

KEPT = 64 * 1024
LARGEST_DOCUMENT = 64 * 1024 * 1024
"""Bytes of a JSON document that can't be cut, and of what one piece of JSON may decompress to inside."""

_IDENTIFYING = 64 * 1024
_NO_LOGS = ("_SUCCESS", "README", "LICENSE")
_NO_LOG_SUFFIXES = (".md", ".crc")


@dataclass(frozen=True)
class Piece:
    r"""About TARGET_BYTES of a file.

    path: of the file, as it was found. lines: `\n` between them, header lines among them. format: that the file tells
    for them, field names with spaces between. first_line: number of the first of them in what was read, from 0.
    error: a reject reason; then `lines` is what could not be read, or says what is wrong.
    """

    path: str
    lines: bytes
    format: str | None
    first_line: int
    error: str | None = None


def files(paths: Sequence[Path | str]) -> list[Path]:
    """The files that `paths` mean: a folder's with all below it, sorted by path; `-` stays.

    Hidden files, checksums and documents in folders are passed over. Raises OSError for a path that is not there.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path != STDIN:
            path.stat()
        if path.is_dir() and path != STDIN:
            found += sorted(one for one in path.rglob("*") if _may_hold_logs(one, path))
        else:
            found.append(path)
    return found


def pieces(paths: Sequence[Path | str]) -> Iterator[Piece]:
    """The content of files, folders and `-`, piece by piece, in order.

    Raises OSError for a path that is not there, before anything else. A file that can't be read is one piece with an
    error, and a line in the log.
    """
    return chain.from_iterable(map(_pieces_of, files(paths)))


def read(
    paths: Sequence[Path | str],
    *,
    again: str | None = None,
    replay: bool = True,
    format: str | None = None,  # noqa: A002  the same word everywhere
    clock: Callable[[], float] = time.time,
) -> Iterator[RawMessage]:
    """Raw messages of files, folders and `-`. Read again, also from another folder, a file gives the same origins.

    again: makes a new run of it, whatever was read before. replay: marks history. format: where a file tells none.
    clock: epoch seconds. Raises OSError as `pieces`.
    """
    arrival = Arrival(SOURCE, "", 0, format, replay)
    return chain.from_iterable(_messages_of(path, again, arrival, clock) for path in files(paths))


def _messages_of(path: Path, again: str | None, arrival: Arrival, clock: Callable[[], float]) -> Iterator[RawMessage]:
    for part, piece in enumerate(_pieces_of(path)):
        name = arrival.name or _identity(path, piece.lines) + (f"@{again}" if again else "")
        arrival = replace(arrival, name=name, arrival_ms=int(clock() * 1000))
        yield arrival.message(piece.lines, str(part), piece.format, piece.error)


def _identity(path: Path, first: bytes) -> str:
    """What a file is, wherever it lies: its name, size, beginning and end. Standard input is what it begins with."""
    found = blake2b(path.name.encode("utf-8", "surrogateescape"), digest_size=16)
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, io.SEEK_END)
            found.update(f"\0{size}\0".encode())
            for at in (0, max(0, size - _IDENTIFYING)):
                stream.seek(at)
                found.update(stream.read(_IDENTIFYING))
    except OSError:
        found.update(first)
    return found.hexdigest()


def _may_hold_logs(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.name not in _NO_LOGS and path.suffix not in _NO_LOG_SUFFIXES and path.is_file()


# -- one file ---------------------------------------------------------------------------------------------------------


def _pieces_of(path: Path) -> Iterator[Piece]:
    first_line = 0
    for piece in _unnumbered(path):
        yield replace(piece, path=str(path), first_line=first_line)
        first_line += piece.lines.count(b"\n") + 1


def _unnumbered(path: Path) -> Iterator[Piece]:
    try:
        if path == STDIN:
            yield from _content(sys.stdin.buffer, None)
            return
        with path.open("rb") as stream:
            yield from _content(stream, path)
    except OSError as problem:
        log.warning("can't read %s: %s", path, problem.strerror or problem)
        yield _error(f"can't be read: {problem.strerror or problem}", "undecodable")


def _content(stream: Readable, path: Path | None) -> Iterator[Piece]:
    head = stream.read(_IDENTIFYING)
    stream = _Ahead(head, stream)
    if head.startswith(parquet.MAGIC):
        yield from _parquet(path or io.BytesIO(b"".join(iter(lambda: stream.read(PIECE), b""))))
        return
    chunks = _Chunks(inflated(stream, compression(head)))
    first = next(chunks, b"").removeprefix(b"\xef\xbb\xbf")
    yield from (_json if looks_like_json(first) else _text)(chain((first,), chunks))
    if chunks.broken:
        yield _error("the compressed data is cut off or damaged here", "bad_gzip")


def _error(text: str, reason: str) -> Piece:
    return Piece("", text.encode("utf-8", "replace"), None, 0, reason)


class _Ahead:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int, /) -> bytes:
        found, self._head = self._head[:size], self._head[size:]
        return found or self._stream.read(size)


class _Chunks:
    """Decompressed bytes, up to where they are broken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.broken = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except BrokenInputError:
            self.broken = True
            raise StopIteration from None


def _text(chunks: Iterator[bytes]) -> Iterator[Piece]:
    fmt: str | None = None
    for lines, is_whole in _cut(chunks, b"\n", LONGEST_LINE):
        if not is_whole:
            yield Piece("", lines, None, 0, "too_long")
            continue
        for part, named in cut_at_headers(lines, fmt):
            fmt = named
            yield Piece("", part, fmt, 0)


def _json(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Documents: one a line, or with nothing between them, or one that can't be cut."""
    head = b"".join(_some(chunks, TARGET_BYTES))
    for text, is_whole in _cut(chain((head,), chunks), _between_documents(head), LARGEST_DOCUMENT):
        if not is_whole:
            yield Piece("", text, None, 0, "too_large")
            continue
        decoded = decode(text, LARGEST_DOCUMENT)
        for batch in decoded.batches:
            yield from (Piece("", lines, batch.format, 0) for lines in split_lines(batch.lines))
        yield from (Piece("", payload, None, 0, reason) for payload, reason in unread(decoded))


def _some(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        size -= len(chunk)
        if size <= 0:
            return


def _between_documents(head: bytes) -> bytes:
    """What stands between JSON documents; nothing: they can't be told apart without reading them.

    Firehose puts nothing between the records of an S3 object, and `}{` is in no flow log line.
    """
    try:
        orjson.loads(head.lstrip().partition(b"\n")[0])
    except orjson.JSONDecodeError:
        return b"}{" if b"}{" in head else b""
    return b"\n"


def _cut(chunks: Iterator[bytes], mark: bytes, most: int) -> Iterator[tuple[bytes, bool]]:
    r"""Cut a stream into (part, True) of about TARGET_BYTES: at `\n`, which goes, or between the two bytes of a mark.

    What stands between two marks and has more than `most` bytes is (its first KEPT bytes, False). No mark: nothing can
    be cut. The same bytes give the same parts, whatever the chunks.
    """
    rest = b""
    keep = len(mark) - 1
    while True:
        end = rest.find(mark, TARGET_BYTES - 1) if mark else -1
        if end < 0 and len(rest) <= TARGET_BYTES + most:
            chunk = next(chunks, None)
            if chunk is None:
                break
            rest += chunk
        elif 0 <= end <= TARGET_BYTES + most:
            yield rest[: end + keep], True
            rest = rest[end + 1 :]
        else:
            start = rest.rfind(mark, 0, TARGET_BYTES - 1 + keep) if mark else -1
            if start >= 0:
                yield rest[: start + keep], True
            yield rest[start + 1 :][:KEPT], False
            rest = _behind(mark, rest[start + 1 :], chunks)
    rest = rest.removesuffix(b"\n")
    if rest:
        yield rest, True


def _behind(mark: bytes, rest: bytes, chunks: Iterator[bytes]) -> bytes:
    """What comes behind the next mark; nothing where there is none."""
    while (at := rest.find(mark) if mark else -1) < 0:
        chunk = next(chunks, None)
        if chunk is None:
            return b""
        rest = rest[-1:] + chunk
    return rest[at + 1 :]


def _parquet(source: Path | io.BytesIO) -> Iterator[Piece]:
    try:
        for lines, fmt in parquet.lines_of(source):
            yield Piece("", lines, fmt, 0)
    except parquet.NotFlowLogsError as problem:
        yield _error(f"Parquet of something else: {problem}", "no_lines")
    except pl.exceptions.PolarsError as problem:
        yield _error(f"Parquet that is broken: {problem}", "bad_parquet")
