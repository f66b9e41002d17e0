"""`python -m streams.docs` writes the documents that are made from code; a test holds that they are current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from streams.core.fields import fields_markdown
from streams.detection import detectors_markdown, detectors_yaml
from streams.metrics import metrics_markdown
from streams.settings import settings_markdown, settings_yaml

ROOT = Path(__file__).parents[1]

GENERATED: Mapping[str, Callable[[], str]] = {
    "config/detectors.yaml": detectors_yaml,
    "config/vpcflow.yaml": settings_yaml,
    "docs/FIELDS.md": fields_markdown,
    "docs/METRICS.md": metrics_markdown,
    "docs/detectors.md": detectors_markdown,
    "docs/SETTINGS.md": settings_markdown,
}
"""Path from the root -> what stands in the file."""


def main() -> None:
    """Write all of them."""
    for path, text in GENERATED.items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(), "utf-8")


if __name__ == "__main__":
    main()
