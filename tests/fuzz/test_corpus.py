"""The corpus through the targets, without a fuzzer: each input is one that once taught the fuzzer something."""

from __future__ import annotations

import re

import pytest

from tests.fuzz.__main__ import CORPUS, TARGETS, target

INPUTS = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}
NETWORK = re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
DOCUMENTATION = (b"192.0.2.", b"198.51.100.", b"203.0.113.")


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_passes(name: str) -> None:
    one = target(name)

    assert len(INPUTS[name]) > 20
    for path in INPUTS[name]:
        try:
            one(path.read_bytes())
        except Exception as problem:
            problem.add_note(f"python -m tests.fuzz --replay {path} {name}")
            raise


def test_the_corpus_is_small_and_holds_no_address_of_a_real_network() -> None:
    contents = [path.read_bytes() for paths in INPUTS.values() for path in paths]
    found = [address for content in contents for address in NETWORK.findall(content)]

    assert sum(map(len, contents)) < 200_000
    assert len(found) > 50
    assert [address for address in found if not address.startswith(DOCUMENTATION)] == []
