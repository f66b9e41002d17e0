"""The flame graph names no machine."""

from __future__ import annotations

from tests.bench.flame import titled


def test_the_picture_has_a_title_of_ours() -> None:
    """py-spy's is its own command, with the paths of a machine; nothing else of the picture changes."""
    theirs = '<svg><text id="title" x="50%" y="24">./py-spy record --pid 7</text><text id="x">b</text></svg>'

    found = titled(theirs, "1,000 records <of> a worker")

    assert found == (
        '<svg><text id="title" x="50%" y="24">1,000 records &lt;of&gt; a worker</text><text id="x">b</text></svg>'
    )
