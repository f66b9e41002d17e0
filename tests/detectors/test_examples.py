"""Each detector on its own examples: through the parser and the panes, as a file of lines would come."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest

from streams.core.analysis import Analysis
from streams.core.detection import Detector, Example, Watch, last_of_each
from streams.core.findings import Finding
from streams.core.parse import parse
from streams.detectors.examples import HEADER
from streams.detectors.known_bad import EXAMPLE_ENTRIES, KNOWN_BAD, with_entries
from streams.detectors.policy import EXAMPLE_MATRIX, POLICY, with_matrix
from streams.detectors.registry import DETECTORS

LISTED = {KNOWN_BAD.name: with_entries(EXAMPLE_ENTRIES), POLICY.name: with_matrix(EXAMPLE_MATRIX)}
"""What needs to be given something to find."""
GIVEN = [LISTED.get(detector.name, detector) for detector in DETECTORS]
CASES = [(detector, example) for detector in GIVEN for example in detector.examples]


def found(detector: Detector, *pieces: str) -> list[Finding]:
    """The findings of lines, given in pieces."""
    analysis = Analysis()
    for piece in pieces:
        analysis.add(parse(f"{HEADER}\n{piece}\n".encode()))
    return last_of_each(Watch([detector]).see_all(analysis.talks(), analysis.silent()))


@pytest.mark.parametrize(
    ("detector", "example"), CASES, ids=[f"{detector.name}: {example.what}" for detector, example in CASES]
)
def test_an_example_fires_or_stays_silent_as_it_says(detector: Detector, example: Example) -> None:
    """One episode, whatever its length, with a sentence and its numbers."""
    findings = found(detector, "\n".join(example.lines))

    assert len(findings) == int(example.fires)
    assert all(len(one.sentence.split()) > 5 and json.loads(one.evidence) for one in findings)
    assert all(one.eni or one.source for one in findings)
    assert all(one.first <= one.last and one.count > 0 for one in findings)


@pytest.mark.parametrize("detector", GIVEN, ids=lambda one: one.name)
def test_a_finding_is_the_same_in_any_order_and_cut_of_the_lines(detector: Detector) -> None:
    for example in detector.examples:
        if example.fires:
            backwards = example.lines[::-1]
            pieces = ["\n".join(backwards[n : n + 97]) for n in range(0, len(backwards), 97)]
            assert found(detector, *pieces) == found(detector, "\n".join(example.lines))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_a_detector_is_explained(detector: Detector) -> None:
    """With cases on both sides, a name as in findings, ATT&CK ids, and words for each setting."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", detector.name)
    assert {example.fires for example in detector.examples} == {True, False}
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", technique) for technique in detector.attack)
    assert all(text.endswith(".") for text in (detector.explanation, detector.runbook))
    assert all(one.metadata["meaning"] for one in fields(detector.settings))


def test_there_are_detectors_and_each_has_a_name_of_its_own() -> None:
    names = [detector.name for detector in DETECTORS]

    assert len(set(names)) == len(names) >= 9
