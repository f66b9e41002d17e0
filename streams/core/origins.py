"""Which messages were seen before: origins with the raw offset where each was first seen, bounded.

Kept in buckets of BUCKET raw offsets, each one row of the state: what a checkpoint writes is what is new. The oldest
bucket goes when there are too many, so the memory of repeats spans the last `limit` messages of the partition.
"""

from __future__ import annotations

from collections.abc import Iterator

BUCKET = 1024
_KEY_BYTES = 16
_OFFSET_BYTES = 2


class Origins:
    """Origin keys (16 bytes, see core.raw) -> raw offset of the first message that carried it."""

    def __init__(self, limit: int) -> None:
        """Remember the origins of about the last `limit` messages."""
        self._buckets: dict[int, dict[bytes, int]] = {}
        self._most = max(2, limit // BUCKET)
        self._unsaved: set[int] = set()

    def seen_before(self, key: bytes, offset: int) -> bool:
        """Whether a message before `offset` carried `key`; remembers it."""
        first = next((found[key] for found in self._buckets.values() if key in found), None)
        if first is None:
            self._buckets.setdefault(offset // BUCKET, {})[key] = offset
            self._unsaved.add(offset // BUCKET)
        return first is not None and first < offset

    def rows(self) -> Iterator[tuple[int, bytes | None]]:
        """(bucket, its bytes) of what changed since the last call; None for buckets that went."""
        for old in sorted(self._buckets)[: -self._most]:
            del self._buckets[old]
            self._unsaved.discard(old)
            yield old, None
        for bucket in sorted(self._unsaved):
            yield bucket, b"".join(
                key + (offset % BUCKET).to_bytes(_OFFSET_BYTES, "big") for key, offset in self._buckets[bucket].items()
            )
        self._unsaved.clear()

    def restore(self, bucket: int, value: bytes) -> None:
        """Take a bucket back as `rows` gave it."""
        size = _KEY_BYTES + _OFFSET_BYTES
        pieces = (value[at : at + size] for at in range(0, len(value), size))
        self._buckets[bucket] = {
            piece[:_KEY_BYTES]: bucket * BUCKET + int.from_bytes(piece[_KEY_BYTES:], "big") for piece in pieces
        }

    def __len__(self) -> int:
        """How many origins are remembered."""
        return sum(map(len, self._buckets.values()))
