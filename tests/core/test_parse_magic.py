"""A value that begins like compressed data is lines all the same: Polars must not get to decompress it."""

from streams.core.parse import parse


def test_lines_that_begin_like_zlib_are_lines() -> None:
    """Polars' CSV reader looks at the first bytes by itself: `x^` and `x\\x01` are zlib's."""
    for start in (b"x^", b"x\x01"):
        found = parse(start + b" 10.0.0.1\n", ("interface-id", "srcaddr"))

        assert found.records.height + found.rejects.height == 1
