"""The names of our topics and consumer group. They are an interface: changed only with a line in the changelog."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """All names under one prefix (setting `topics.prefix`)."""

    prefix: str = "vpcflow"

    @property
    def group(self) -> str:
        """Consumer group of the workers, and the Faust app's id."""
        return f"{self.prefix}-worker"

    @property
    def raw(self) -> str:
        """Batches of lines, see core.raw."""
        return f"{self.prefix}.raw"

    @property
    def summaries(self) -> str:
        """Whole values so far, see core.roll."""
        return f"{self.prefix}.summaries"

    @property
    def conversations(self) -> str:
        """Blocks of conversations, see core.blocks."""
        return f"{self.prefix}.conversations"

    @property
    def anomalies(self) -> str:
        """Findings, the newest word on each (compacted)."""
        return f"{self.prefix}.anomalies"

    @property
    def anomalies_ocsf(self) -> str:
        """The same as OCSF Detection Findings."""
        return f"{self.anomalies}.ocsf"

    @property
    def anomalies_ecs(self) -> str:
        """The same in the Elastic Common Schema."""
        return f"{self.anomalies}.ecs"

    @property
    def view(self) -> str:
        """What each worker shows of itself at the moment, see console.fleet (compacted, and gone after an hour)."""
        return f"{self.prefix}.view"

    @property
    def dead_letters(self) -> str:
        """What could not be read, see core.deadletter."""
        return f"{self.prefix}.dead-letter"

    @property
    def combine_changelog(self) -> str:
        """State of the raw partitions (compacted)."""
        return f"{self.prefix}.combine-changelog"

    @property
    def roll_changelog(self) -> str:
        """State of the summary partitions (compacted)."""
        return f"{self.prefix}.roll-changelog"

    @property
    def detect_changelog(self) -> str:
        """What detectors remember (compacted)."""
        return f"{self.prefix}.detect-changelog"
