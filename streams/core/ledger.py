"""The rows of a partition's state in its changelog, kept apart by who wrote them.

A worker that was thought dead may write once more when its partition belongs to another one by then, and a compacted
topic keeps the last value of a key alone. So whoever opens a partition writes under keys that are its own,
`partition/writer/name`, and nobody's row can replace another's. Every row is right for the offset that it is stamped
with, for a state is a function of the messages up to there: who opens next takes, name by name, what has come furthest
(`newest` in core.combine and core.roll). Rows of others are deleted when they are superseded, and only by a writer who
has settled all that anybody could have read before it opened: until then one of the others may still be ahead.

A topic takes messages up to a size. A larger value goes in parts, under names that no other save has, and then the row
says which these are: until it is there, the row of before stands with the parts of before. Those go when it is safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Rows = Mapping[str, bytes | None]
"""Name -> value; None deletes."""
Written = Mapping[str, Mapping[str, bytes]]
"""Writer -> name -> value: all that a partition's changelog holds."""
Keyed = dict[bytes, bytes | None]
"""Key in the changelog -> value; None deletes."""


PART_BYTES = 4 * 1024 * 1024
"""A larger value is written in parts of this size. Half of what the topics take (streams.kafka.LARGEST_MESSAGE)."""
_IN_PARTS = b"\x00in parts\n"
"""What the value of a row begins with that says which parts it has: of which save, and how many."""
_PART = "#"
"""Between a row's name and the number of one of its parts."""


class HoleError(ValueError):
    """Rows that the state speaks of are not there, or not as far as it says: the changelog was not read whole."""


def read(partition: int, store: Mapping[bytes, bytes]) -> dict[str, dict[str, bytes]]:
    """The rows of a partition (see Written) among all in `store`. A key that is none of ours is no row.

    Nor is one of which a part is missing.
    """
    found: dict[str, dict[str, bytes]] = {}
    for raw, writer, name in _keys(partition, store):
        value = store[raw] if _PART not in name else None
        if value is not None and value.startswith(_IN_PARTS):
            value = _joined(store, [key(partition, writer, part) for part in _parts(name, value)])
        if value is not None:
            found.setdefault(writer, {})[name] = value
    return found


def _keys(partition: int, store: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, str, str]]:
    """Key, writer and name of what is a partition's own."""
    for raw in store:
        number, _, rest = raw.decode(errors="replace").partition("/")
        writer, slash, name = rest.partition("/")
        if slash and number == str(partition):
            yield raw, writer, name


def _parts(name: str, value: bytes) -> list[str]:
    """The names of the parts that a row speaks of."""
    save, count = value.removeprefix(_IN_PARTS).split()
    return [f"{name}{_PART}{int(save)}.{number}" for number in range(int(count))]


def _joined(store: Mapping[bytes, bytes], parts: list[bytes]) -> bytes | None:
    return b"".join(store[part] for part in parts) if all(part in store for part in parts) else None


def key(partition: int, writer: str, name: str) -> bytes:
    """A row's key in the changelog."""
    return f"{partition}/{writer}/{name}".encode()


class Ledger:
    """What one writer has to write, so that its rows are there and those of others go when they may."""

    def __init__(
        self, partition: int, writer: str, store: Mapping[bytes, bytes], fence: int, part_bytes: int = PART_BYTES
    ) -> None:
        """writer: a name that no other opening has. store: what is there. fence: the last offset when it opened."""
        self._partition = partition
        self._writer = writer
        self._fence = fence
        self._part_bytes = part_bytes
        self._saves = 0
        self._parts: dict[str, list[bytes]] = {}
        self._replaced: list[bytes] = []
        self._others: dict[str, list[bytes]] = {}
        self._superseded: list[bytes] = []
        self._due: list[bytes] = []
        for raw, _, name in _keys(partition, store):
            self._others.setdefault(name.partition(_PART)[0], []).append(raw)

    def first(self, rows: Rows) -> Keyed:
        """What to write for `rows`, the first of a checkpoint's two sets; in this order."""
        found: Keyed = {}
        for name, value in rows.items():
            self._superseded += sorted(self._others.pop(name, []))
            self._replaced += self._parts.pop(name, [])
            found.update(self._row(name, value))
        return found

    def then(self, rows: Rows, stamp: int) -> Keyed:
        """The same for the second set, which settles the state at the offset `stamp`, once the first is safe.

        With it goes what the last checkpoint to come past the fence has superseded: that one is safe. And the parts
        that no row has any more by now.
        """
        gone, self._replaced = [*self._due, *self._replaced], []
        found = {**dict.fromkeys(gone), **self.first(rows)}
        self._due = []
        if stamp >= self._fence:
            self._due, self._superseded = self._superseded, []
        return found

    def _row(self, name: str, value: bytes | None) -> Keyed:
        own = key(self._partition, self._writer, name)
        if value is None or len(value) <= self._part_bytes:
            return {own: value}
        self._saves += 1
        pieces = [value[at : at + self._part_bytes] for at in range(0, len(value), self._part_bytes)]
        says = _IN_PARTS + f"{self._saves} {len(pieces)}".encode()
        keys = self._parts[name] = [key(self._partition, self._writer, part) for part in _parts(name, says)]
        return {**dict(zip(keys, pieces, strict=True)), own: says}
