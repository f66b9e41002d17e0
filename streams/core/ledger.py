"""The rows of a partition's state in its changelog, kept apart by who wrote them.

A worker that was thought dead may write once more when its partition belongs to another one by then, and a compacted
topic keeps the last value of a key alone. So whoever opens a partition writes under keys that are its own,
`partition/writer/name`, and nobody's row can replace another's. Every row is right for the offset that it is stamped
with, for a state is a function of the messages up to there: who opens next takes, name by name, what has come furthest
(`newest` in core.combine and core.roll). Rows of others are deleted when they are superseded, and only by a writer who
has settled all that anybody could have read before it opened: until then one of the others may still be ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

Rows = Mapping[str, bytes | None]
"""Name -> value; None deletes."""
Written = Mapping[str, Mapping[str, bytes]]
"""Writer -> name -> value: all that a partition's changelog holds."""
Keyed = dict[bytes, bytes | None]
"""Key in the changelog -> value; None deletes."""


class HoleError(ValueError):
    """Rows that the state speaks of are not there, or not as far as it says: the changelog was not read whole."""


def read(partition: int, store: Mapping[bytes, bytes]) -> dict[str, dict[str, bytes]]:
    """The rows of a partition (see Written) among all in `store`. A key that is none of ours is no row."""
    found: dict[str, dict[str, bytes]] = {}
    for raw, value in store.items():
        number, _, rest = raw.decode(errors="replace").partition("/")
        writer, slash, name = rest.partition("/")
        if slash and number == str(partition):
            found.setdefault(writer, {})[name] = value
    return found


def key(partition: int, writer: str, name: str) -> bytes:
    """A row's key in the changelog."""
    return f"{partition}/{writer}/{name}".encode()


class Ledger:
    """What one writer has to write, so that its rows are there and those of others go when they may."""

    def __init__(self, partition: int, writer: str, written: Written, fence: int) -> None:
        """writer: a name that no other opening has. written: what is there. fence: the last offset when it opened."""
        self._partition = partition
        self._writer = writer
        self._fence = fence
        self._others: dict[str, set[str]] = {}
        self._superseded: list[bytes] = []
        self._due: list[bytes] = []
        for other, rows in written.items():
            for name in rows:
                self._others.setdefault(name, set()).add(other)

    def first(self, rows: Rows) -> Keyed:
        """What to write for `rows`, the first of a checkpoint's two sets."""
        for name in rows:
            writers = self._others.pop(name, set())
            self._superseded += [key(self._partition, writer, name) for writer in sorted(writers)]
        return {key(self._partition, self._writer, name): value for name, value in rows.items()}

    def then(self, rows: Rows, stamp: int) -> Keyed:
        """The same for the second set, which settles the state at the offset `stamp`, once the first is safe.

        With it goes what the last checkpoint to come past the fence has superseded: that one is safe.
        """
        found = {**dict.fromkeys(self._due), **self.first(rows)}
        self._due = []
        if stamp >= self._fence:
            self._due, self._superseded = self._superseded, []
        return found
