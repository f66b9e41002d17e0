"""Documents that are made from code say what the code says."""

from __future__ import annotations

import pytest

from streams.docs import GENERATED, ROOT


@pytest.mark.parametrize("path", GENERATED)
def test_generated_document_is_current(path: str) -> None:
    """`make docs` would change nothing."""
    assert (ROOT / path).read_text("utf-8") == GENERATED[path](), f"{path} is old: run `make docs`"


def test_there_are_generated_documents() -> None:
    """The list above did not lose its members."""
    assert len(GENERATED) >= 4
