"""Header lines in text: which format the lines behind them have. The header lines themselves stay where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from streams.core.fields import header_format

# A line of nothing but words shaped like names. Few records are: most begin with a digit.
_NAMES = re.compile(rb"\n([A-Za-z][A-Za-z0-9_ -]*)(?=\r?\n|\r?$)")

MOST_CANDIDATES = 100_000
"""Lines like names that are looked at in a text, a second's work at most. `core.parse` finds headers behind them."""


def format_of(line: bytes) -> str | None:
    """The format, field names with spaces between, that a header line names; None: it is a record, or anything else."""
    if not line[:1].isalpha():
        return None
    names = header_format(line.decode("utf-8", "replace"))
    return " ".join(names) if names else None


def cut_at_headers(text: bytes, fmt: str | None = None) -> Iterator[tuple[bytes, str | None]]:
    r"""Cut lines (`\n` between them) where a header names another format; each piece with its format.

    A header line is the first line of its piece. fmt: the format before the first header.
    """
    start = 0
    fmt = format_of(text.partition(b"\n")[0]) or fmt
    for match in islice(_NAMES.finditer(text), MOST_CANDIDATES):
        named = format_of(match[1])
        if named and named != fmt:
            yield text[start : match.start()], fmt
            start, fmt = match.start() + 1, named
    yield text[start:], fmt
