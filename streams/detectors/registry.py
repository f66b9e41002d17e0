"""All detectors. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.detection import Detector
from streams.detectors.beacon import BEACON
from streams.detectors.broken_dependency import BROKEN_DEPENDENCY
from streams.detectors.brute_force import BRUTE_FORCE
from streams.detectors.connection_flood import CONNECTION_FLOOD
from streams.detectors.cost_surge import COST_SURGE
from streams.detectors.distributed_scan import DISTRIBUTED_SCAN
from streams.detectors.exfiltration import EXFILTRATION
from streams.detectors.exposure import EXPOSURE
from streams.detectors.flood import FLOOD
from streams.detectors.known_bad import KNOWN_BAD
from streams.detectors.lateral_movement import LATERAL_MOVEMENT
from streams.detectors.log_health import LOG_HEALTH
from streams.detectors.new_peer import NEW_PEER
from streams.detectors.new_service import NEW_SERVICE
from streams.detectors.policy import POLICY
from streams.detectors.rejected_surge import REJECTED_SURGE
from streams.detectors.scan import PORT_SCAN, PORT_SWEEP
from streams.detectors.unusual_volume import UNUSUAL_VOLUME

DETECTORS: Sequence[Detector] = (
    PORT_SCAN, PORT_SWEEP, DISTRIBUTED_SCAN, BRUTE_FORCE, FLOOD, CONNECTION_FLOOD, BEACON, EXFILTRATION,
    UNUSUAL_VOLUME, NEW_SERVICE, NEW_PEER, LATERAL_MOVEMENT, REJECTED_SURGE, BROKEN_DEPENDENCY, EXPOSURE, POLICY,
    KNOWN_BAD, COST_SURGE, LOG_HEALTH,
)  # fmt: skip
BY_NAME = {one.name: one for one in DETECTORS}
