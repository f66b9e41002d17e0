"""Dead letters: what could not be read, with its reason and where it came from, so that it can be found and replayed.

One Kafka message holds the dead letters of one raw message, a JSON object a line. `id` is made of the raw position: the
same line rejected twice is one dead letter.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import orjson
import polars as pl

from streams.core.parse import reject_text
from streams.core.raw import RawMessage

_ROWS_A_MESSAGE = 2_000


@dataclass(frozen=True)
class DeadLetter:
    """A message for the dead-letter topic. value: JSON objects, one a line."""

    key: bytes
    value: bytes


def of_message(partition: int, offset: int, message: RawMessage, reason: str) -> DeadLetter:
    """A whole message that could not be decoded. `payload` is base64 of what came."""
    row = {**_where(partition, offset, message), "id": f"{partition}/{offset}", "reason": reason, "line": None}
    payload = base64.b64encode(message.value).decode()
    return DeadLetter(_key(partition, offset, 0), orjson.dumps({**row, "payload": payload}))


def of_lines(partition: int, offset: int, message: RawMessage, rejects: pl.DataFrame) -> list[DeadLetter]:
    """Bad lines of one message. `rejects`: line UInt32 (from 0), reason String, text Binary (see core.parse).

    `line` in the letter is the number in the message as it stands on the topic.
    Each object has `text`, or `text_base64` where the line is not UTF-8.
    """
    where = _where(partition, offset, message)
    text, line = pl.col("utf8"), pl.col("line") + message.skipped
    rows = rejects.with_columns(reject_text(rejects).alias("utf8")).select(
        pl.format(f"{partition}/{offset}/{{}}", line).alias("id"),
        "reason",
        *(pl.lit(value).alias(name) for name, value in where.items()),
        line.alias("line"),
        text.alias("text"),
        pl.when(text.is_null()).then(pl.col("text").bin.encode("base64")).alias("text_base64"),
    )
    return [
        DeadLetter(_key(partition, offset, n), part.write_ndjson().encode().removesuffix(b"\n"))
        for n, part in enumerate(rows.iter_slices(_ROWS_A_MESSAGE))
    ]


def _key(partition: int, offset: int, part: int) -> bytes:
    return f"{partition}/{offset}/{part}".encode()


def _where(partition: int, offset: int, message: RawMessage) -> dict[str, str | int | None]:
    origin = message.origin
    return {
        "partition": partition,
        "offset": offset,
        "source": origin.source,
        "origin": origin.name,
        "part": origin.part,
        "arrival": message.arrival_ms,
        "format": message.format,
    }
