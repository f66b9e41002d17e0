"""The report of runs: JSON for machines, and the page docs/reliability.md. Pure: the same results, the same text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from tests.chaos.run import Result


def as_json(results: Sequence[Result]) -> str:
    return json.dumps([asdict(one) for one in results], indent=2) + "\n"


def as_markdown(results: Sequence[Result]) -> str:
    return "\n".join(f"{one.seed}" for one in results)
