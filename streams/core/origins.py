"""Which messages were seen before: origins with the raw offset where each was first seen, bounded.

Kept in buckets of BUCKET raw offsets, each one row of the state: what a checkpoint writes is what is new. A bucket
goes when the offsets have moved on by `limit`, saved or not: what is remembered is a function of the offset reached,
so that read again after a crash, a repeat is a repeat again.
"""

from __future__ import annotations

from collections.abc import Iterator

BUCKET = 1024
_KEY_BYTES = 16
_OFFSET_BYTES = 2


def count_keys(value: bytes) -> int:
    """Distinct origins in a bucket's bytes, or in those of several writers joined."""
    return len({piece[:_KEY_BYTES] for piece in _pieces(value)})


def _pieces(value: bytes) -> Iterator[bytes]:
    size = _KEY_BYTES + _OFFSET_BYTES
    return (value[at : at + size] for at in range(0, len(value), size))


class Origins:
    """Origin keys (16 bytes, see core.raw) -> raw offset of the first message that carried it."""

    def __init__(self, limit: int) -> None:
        """Remember the origins of about the last `limit` raw offsets."""
        self._buckets: dict[int, dict[bytes, int]] = {}
        self._most = max(2, limit // BUCKET)
        self._unsaved: set[int] = set()
        self._gone: list[int] = []
        self._newest = -1

    def advance(self, offset: int) -> None:
        """Raw offsets have come as far as `offset`, whatever its message is: what is too old goes."""
        bucket = offset // BUCKET
        if bucket > self._newest:
            self._newest = bucket
            self._forget_before(bucket - self._most + 1)

    def seen_before(self, key: bytes, offset: int) -> bool:
        """Whether a message before `offset` carried `key`; remembers it. Offsets come in order, see `advance`."""
        bucket = offset // BUCKET
        if any(found.get(key, offset) < offset for found in self._buckets.values()):
            return True
        mine = self._buckets.setdefault(bucket, {})
        if key not in mine:
            mine[key] = offset
            self._unsaved.add(bucket)
        return False

    def rows(self) -> Iterator[tuple[int, bytes | None]]:
        """(bucket, its bytes) of what changed since the last call; None for buckets that went."""
        yield from ((old, None) for old in self._gone)
        self._gone.clear()
        for bucket in sorted(self._unsaved):
            yield (
                bucket,
                b"".join(
                    key + (offset % BUCKET).to_bytes(_OFFSET_BYTES, "big")
                    for key, offset in self._buckets[bucket].items()
                ),
            )
        self._unsaved.clear()

    def restore(self, bucket: int, value: bytes) -> None:
        """Take a bucket back as `rows` gave it."""
        self._buckets[bucket] = {
            piece[:_KEY_BYTES]: bucket * BUCKET + int.from_bytes(piece[_KEY_BYTES:], "big") for piece in _pieces(value)
        }

    def counts(self) -> dict[int, int]:
        """Bucket -> origins in it."""
        return {bucket: len(keys) for bucket, keys in self._buckets.items()}

    def _forget_before(self, bucket: int) -> None:
        for old in [old for old in self._buckets if old < bucket]:
            del self._buckets[old]
            self._unsaved.discard(old)
            self._gone.append(old)

    def __len__(self) -> int:
        """How many origins are remembered."""
        return sum(map(len, self._buckets.values()))
