"""A payload in any shape that flow logs travel in -> lines. Pure; it never raises, whatever the bytes.

Every byte that comes in goes one of four ways: into a line, into an error with its reason, into a notification, or into
a count. Only wrapping is undone here: a line that looks odd is a line, and `core.parse` judges it.
"""

from __future__ import annotations

import binascii
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from streams.sources import parsed, records
from streams.sources.headers import cut_at_headers
from streams.sources.inflate import Inflated, compression, inflate
from streams.sources.shapes import SHAPES, S3Object

Json = Mapping[str, object]

DEPTH = 16
"""Wrappings inside each other that are undone: gzip in base64 in SNS in SQS in Lambda in Firehose needs eleven."""

MOST_LOOKS = 1_000_000
"""Wrappings of a payload that are looked at one by one, ten seconds' work at most: 64 MiB of flow logs have fewer."""

MOST_ERRORS = 10_000
"""Errors of a payload that are kept apart, for each becomes a message. Others are put together, by their reason."""

MOST_FORMATS = 256
"""Formats of a payload, for each becomes a message. Lines of others are `unknown_format`."""

_GATHERED_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    r"""lines: at least one, `\n` between them. format: field names with spaces between, where the payload tells."""

    lines: bytes
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Undecodable:
    """payload: the bytes that could not be read. reason: a reject reason (core.parse)."""

    payload: bytes
    reason: str


@dataclass(slots=True)
class Decoded:
    """What was in a payload.

    batches: one a format, in the order of their first lines. errors: what could not be read.
    ignored: probes (CONTROL_MESSAGE, s3:TestEvent), empty Kafka messages, notices of what was not created.
    duplicates: CloudWatch events whose id the payload held before. notifications: S3 objects; they hold no lines.
    """

    batches: list[Batch] = field(default_factory=list)
    errors: list[Undecodable] = field(default_factory=list)
    ignored: int = 0
    duplicates: int = 0
    notifications: list[S3Object] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there was anything."""
        return bool(self.batches or self.errors or self.ignored or self.duplicates or self.notifications)


@dataclass(frozen=True, slots=True)
class FirehoseRequest:
    """A delivery. request_id, timestamp_ms: what its body says, None where it says nothing. decoded: its records."""

    request_id: str | None
    timestamp_ms: int | None
    decoded: Decoded


def decode(payload: bytes, limit_bytes: int) -> Decoded:
    """Decode one payload. limit_bytes: of all that is decompressed in it; what is above is `too_large`.

    So is a payload of more than MOST_LOOKS parts: all of it, besides the lines that were found until then.
    A payload that is not blank gives something: at least the error `no_lines`.
    """
    work = Work(payload, limit_bytes)
    try:
        work.payload(payload, 0)
    except _TooMuchError:
        work.give_up()
    found = work.decoded()
    if not found and payload.strip():
        work.error(payload, "no_lines")
    return found


def decode_firehose(body: bytes, limit_bytes: int) -> FirehoseRequest | str:
    """Decode a Firehose request body that is not compressed (any more). A string says why it is none.

    https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
    """
    cut = records.firehose_body(body)
    rest = _request(cut.rest) if cut else None
    if cut and isinstance(rest, dict) and rest["records"] == []:
        work = Work(body, limit_bytes)
        try:
            done = work.chunks(cut.data)
        except _TooMuchError:
            done = work.give_up()
        if done:
            return _firehose_request(rest, work)
    whole = _request(body)
    if isinstance(whole, str):
        return whole
    work = Work(body, limit_bytes)
    found = whole["records"]
    try:
        work.records(found if isinstance(found, list) else [], 1)
    except _TooMuchError:
        work.give_up()
    return _firehose_request(whole, work)


def _request(body: bytes) -> Json | str:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return f"the body is not JSON: {error}"
    if not isinstance(value, dict):
        return "the body is not a JSON object"
    return value if isinstance(value.get("records"), list) else "the body has no list `records`"


def _firehose_request(value: Json, work: Work) -> FirehoseRequest:
    name, at = value.get("requestId"), value.get("timestamp")
    return FirehoseRequest(name if isinstance(name, str) else None, at if isinstance(at, int) else None, work.decoded())


class _TooMuchError(Exception):
    """A payload has more parts than anybody should look at."""


class Work:
    """The decoding of one payload: what was found so far, and how many bytes may still be decompressed."""

    def __init__(self, whole: bytes, limit_bytes: int) -> None:
        """whole: what stands in an error for a part that can't be written again."""
        self._whole = whole
        self._left = limit_bytes
        self._lines: dict[str | None, list[bytes]] = {}
        self._events: dict[str, object] = {}
        self._out = Decoded()
        self._looks = 0
        self._gathered: dict[str, bytearray] = {}

    def decoded(self) -> Decoded:
        """All that was found."""
        for reason in self._gathered:
            self._put_together(reason)
        self._out.batches = [Batch(b"\n".join(lines), fmt) for fmt, lines in self._lines.items()]
        return self._out

    # -- what is found --------------------------------------------------------------------------------------------

    def lines(self, lines: bytes, fmt: str | None = None) -> None:
        """One or more lines of one format."""
        if fmt in self._lines or len(self._lines) < MOST_FORMATS:
            self._lines.setdefault(fmt, []).append(lines)
        else:
            self.error(lines, "unknown_format")

    def error(self, payload: bytes, reason: str) -> None:
        """What can't be read."""
        if len(self._out.errors) < MOST_ERRORS:
            self._out.errors.append(Undecodable(payload, reason))
            return
        gathered = self._gathered.setdefault(reason, bytearray())
        gathered += payload + b"\n"
        if len(gathered) > _GATHERED_BYTES:
            self._put_together(reason)

    def _put_together(self, reason: str) -> None:
        gathered = self._gathered[reason]
        if gathered:
            self._out.errors.append(Undecodable(bytes(gathered[:-1]), reason))
            gathered.clear()

    def ignore(self) -> None:
        """What is meant to hold no lines."""
        self._out.ignored += 1

    def notify(self, created: S3Object) -> None:
        """An object that could be read."""
        if len(self._out.notifications) < MOST_ERRORS:
            self._out.notifications.append(created)
        else:
            self.error(created.json(), "no_lines")

    def give_up(self) -> bool:
        """The payload has too many parts: it is an error as a whole, and what was found in it until now stays."""
        self.error(self._whole, "too_large")
        return True

    def _look(self) -> None:
        self._looks += 1
        if self._looks > MOST_LOOKS:
            raise _TooMuchError

    # -- bytes ----------------------------------------------------------------------------------------------------

    def payload(self, data: bytes, depth: int) -> None:
        """Bytes of any shape."""
        self._look()
        data = data.removeprefix(_BOM)
        if depth > DEPTH or (data.startswith(_BINARY) and not data.isascii()):
            self.error(data, "undecodable")
        elif compression(data):
            self._compressed(data, depth)
        elif _JSON.match(data):
            self._json(data, depth)
        elif data.startswith(records.BASE64) and b" " not in data:
            self._base64_lines(data, depth)
        else:
            self.text(data)

    def text(self, data: bytes) -> None:
        """Lines as they are, header lines among them, blank ones around them left out."""
        data = data.strip(b"\r\n")
        if data:
            for lines, fmt in cut_at_headers(data):
                self.lines(lines, fmt)

    def base64(self, text: object, depth: int) -> None:
        """A JSON value that should be base64. Empty is allowed, and holds nothing."""
        data = unbase64(text) if isinstance(text, str) else None
        if data is not None:
            self.payload(data, depth + 1)
        else:
            self.error(_encode(text) if isinstance(text, str) else self._dump(text), "bad_base64")

    def _base64_lines(self, data: bytes, depth: int) -> None:
        """Base64 without any wrapping: one text, broken into lines or not, or one a line."""
        whole = unbase64(data.decode("latin-1"))
        if whole is not None:
            self.payload(whole, depth + 1)
            return
        for line in data.split():
            self.base64(line.decode("latin-1"), depth)

    def _compressed(self, data: bytes, depth: int) -> None:
        # A bomb uses up all that is left: ten thousand of them in one payload cost no more than one.
        found = inflate(data, self._left) if self._left > 0 else Inflated(b"", "too_large")
        self._left = 0 if found.error == "too_large" else self._left - len(found.data)
        if found.error:
            self.error(data, found.error)
        else:
            self.payload(found.data, depth + 1)

    # -- JSON -----------------------------------------------------------------------------------------------------

    def _json(self, data: bytes, depth: int) -> None:
        lines = records.unwrapped(data.strip().replace(b'"}{"', b'"}\n{"'))
        value = _load(data) if lines is None else None
        if lines is not None:
            self.lines(lines)
        elif value is not None:
            self.value(value, depth, data)
        elif _load(data.lstrip().partition(b"\n")[0]) is not None:
            self._json_lines(data, depth)
        else:
            self._concatenated(data, depth)

    def _json_lines(self, data: bytes, depth: int) -> None:
        """One document a line; a broken one does not cost its neighbours."""
        for ended in io.BytesIO(data):  # not split: a list of short lines takes twenty times their bytes
            line = ended.removesuffix(b"\n")
            value = _load(line)
            if isinstance(value, dict | list | str):
                self.value(value, depth, line)
            elif _JSON.match(line):
                self._concatenated(line, depth)
            else:
                self.text(line)

    def _concatenated(self, data: bytes, depth: int) -> None:
        """Documents with nothing between them, up to the first that is broken.

        Control characters inside strings are let pass, and bytes that are not UTF-8 come out as they went in.
        """
        text = data.decode("utf-8", "surrogateescape")
        at = _after_blanks(text, 0)
        first = at
        while at < len(text):
            value, end = _first_document(text, at)
            if value is None:
                self._broken(data if at == first else _encode(text[at:]))
                return
            self.value(value, depth)
            at = _after_blanks(text, end)

    def _broken(self, data: bytes) -> None:
        """JSON that can't be read. A line in quotes only looks like it."""
        if data.lstrip().startswith(b'"'):
            self.text(data)
        else:
            self.error(data, "bad_json")

    def value(self, value: object, depth: int, source: bytes | None = None) -> None:
        """A JSON value. source: its bytes, where they are at hand."""
        self._look()
        if depth > DEPTH:
            self.error(source or self._dump(value), "undecodable")
        elif isinstance(value, dict):
            self._object(value, depth, source)
        elif isinstance(value, str) and has_text(value):
            self.message(value, depth)
        elif isinstance(value, list) and value and all(isinstance(one, dict | list | str) for one in value):
            for one in value:
                self.value(one, depth + 1)
        else:
            self.error(source or self._dump(value), "no_lines")

    def _object(self, value: Json, depth: int, source: bytes | None) -> None:
        message = value.get("message")
        if isinstance(message, str) and has_text(message):
            if not self._is_repeated(value.get("eventId"), message):
                self.message(message, depth)
            return
        line = parsed.line(value)
        if line is None and any(key in value and shape(self, value, depth) for key, shape in SHAPES):
            return
        line = line or parsed.filebeat_line(value)
        if line:
            self.lines(_encode(line.text), line.format)
        else:
            self.error(source or self._dump(value), "no_lines")

    def message(self, message: str, depth: int) -> None:
        """What a wrapping holds as text: lines, or the next wrapping."""
        self.payload(_encode(message), depth + 1)

    def _dump(self, value: object) -> bytes:
        """JSON of a part of the payload; where it can't be written again: all of the payload, but only once."""
        try:
            return orjson.dumps(value)
        except TypeError:
            pass
        try:
            return json.dumps(value).encode()
        except (ValueError, TypeError, RecursionError):
            whole, self._whole = self._whole, b""
            return whole

    # -- many at once ---------------------------------------------------------------------------------------------

    def events(self, events: Sequence[object], depth: int) -> None:
        """CloudWatch Logs' events."""
        if self._plain_events(events):
            return
        for event in events:
            message, name = (event.get("message"), event.get("id")) if isinstance(event, dict) else (None, None)
            if not (isinstance(message, str) and has_text(message)):
                self.error(self._dump(event), "no_lines")
            elif not self._is_repeated(name, message):
                self.message(message, depth)

    def _plain_events(self, events: Sequence[object]) -> bool:
        """Take all events at once where each is a bare line with an id of its own."""
        if not all(isinstance(event, dict) for event in events):
            return False
        found = {event.get("id"): event.get("message") for event in events if isinstance(event, dict)}
        values = list(found.values())
        if len(found) != len(events) or not self._events.keys().isdisjoint(found) or not all(_are_text(found, values)):
            return False
        lines = records.plain_lines([_encode(value) for value in values if isinstance(value, str)])
        if lines is None:
            return False
        self._events.update((name, message) for name, message in found.items() if isinstance(name, str))
        self.text(lines)
        return True

    def _is_repeated(self, event: object, message: str) -> bool:
        """Whether CloudWatch's event was there before: delivered again, it has the same id."""
        if not isinstance(event, str):
            return False
        repeated = self._events.get(event) == message
        self._events[event] = message
        self._out.duplicates += repeated
        return repeated

    def records(self, found: Sequence[object], depth: int) -> None:
        """Firehose's records, each with `data`. An empty one is allowed, and holds nothing."""
        texts = [one.get("data") if isinstance(one, dict) else None for one in found]
        values = [unbase64(text) if isinstance(text, str) else None for text in texts]
        full = [value for value in values if value]
        plain = records.plain_lines(full) if full and None not in values else None
        if plain is not None:
            self.text(plain)
            return
        for one, text, value in zip(found, texts, values, strict=True):
            if value is not None:
                self.payload(value, depth + 1)
            elif isinstance(text, str):
                self.error(_encode(text), "bad_base64")
            else:
                self.error(self._dump(one), "no_lines")

    def chunks(self, data: bytes) -> bool:
        """Firehose's records as text. False: there is more in it than `data`, and what this work found is void."""
        for chunk in records.firehose_chunks(data):
            lines = records.firehose_lines(chunk)
            values = records.firehose_values(chunk) if lines is None else []
            if values is None:
                return False
            if lines is not None:
                self.text(lines)
            else:
                self.records([{"data": value} for value in values], 1)
        return True


_JSON = re.compile(rb'[\s\x1e]*(?:\{|\[\s*[\[{"\]]|")')
_BLANKS = re.compile(r"[\s,\x1e\ufeff]*")
_DECODER = json.JSONDecoder(strict=False)
_BOM = b"\xef\xbb\xbf"

_BINARY = (b"PAR1", b"Obj\x01", b"ORC", b"BZh", b"\xf3\x89\x9a\xc2", b"\xfd7zXZ")
"""First bytes of Parquet, Avro, ORC, bzip2, Kinesis' aggregated records and xz: no lines, and not for us to open."""


def has_text(text: str) -> bool:
    """Whether there is more in a message than line ends."""
    return bool(text.strip("\r\n"))


def looks_like_json(head: bytes) -> bool:
    """Whether a payload that begins like this is JSON; a line in quotes, or that begins with `[`, is not."""
    return _JSON.match(head) is not None


def unbase64(text: str) -> bytes | None:
    """Base64, also with line ends in it; None: it is something else."""
    for candidate in (text, "".join(text.split())):
        try:
            return binascii.a2b_base64(candidate, strict_mode=True)
        except ValueError:
            continue
    return None


def _are_text(*values: object) -> list[bool]:
    return [isinstance(one, str) for several in values if isinstance(several, list | dict) for one in several]


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _first_document(text: str, at: int) -> tuple[dict[str, object] | list[object] | str | None, int]:
    """The JSON document at a place, and where it ends. None: there is none, or one that can't hold lines."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return (value, end) if isinstance(value, dict | list | str) else (None, at)


def _load(data: bytes) -> object:
    """The JSON value of `data`; None where it is none (or null, which holds no lines either)."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _encode(text: str) -> bytes:
    """Text -> bytes, also what no UTF-8 has: bytes that were escaped on their way in, and halves of surrogates."""
    for errors in ("strict", "surrogateescape"):
        try:
            return text.encode("utf-8", errors)
        except UnicodeEncodeError:
            continue
    return text.encode("utf-8", "surrogatepass")
