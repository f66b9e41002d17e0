"""All detectors. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.detection import Detector
from streams.detectors.beacon import BEACON
from streams.detectors.broken_dependency import BROKEN_DEPENDENCY
from streams.detectors.brute_force import BRUTE_FORCE
from streams.detectors.exfiltration import EXFILTRATION
from streams.detectors.exposure import EXPOSURE
from streams.detectors.flood import FLOOD
from streams.detectors.rejected_surge import REJECTED_SURGE
from streams.detectors.scan import PORT_SCAN, PORT_SWEEP

DETECTORS: Sequence[Detector] = (
    PORT_SCAN, PORT_SWEEP, BRUTE_FORCE, FLOOD, BEACON, EXFILTRATION, REJECTED_SURGE, BROKEN_DEPENDENCY, EXPOSURE,
)  # fmt: skip
