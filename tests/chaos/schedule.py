"""What goes wrong, when, and to whom: a function of the seed. Pure: nothing here does anything.

Three lanes run side by side, each one fault after the other: workers, sources, brokers. One broker is away at a time,
because two of three are what `min.insync.replicas` asks for; everything else may meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

SESSION = 6
"""Seconds: `group.session_seconds` of the workers, the least that is allowed."""
WORKERS, INGESTS, BROKERS = 3, 2, 3

Kind = Literal[
    "kill worker", "zombie", "rolling restart", "scale", "cut, held", "cut, reset",
    "kill ingest", "kill bridge", "kill broker", "retention",
]  # fmt: skip

MEANINGS: dict[Kind, str] = {
    "kill worker": "kill -9 of a worker, started again after so long",
    "zombie": f"SIGSTOP of a worker, SIGCONT after so long: its session is {SESSION} s, so others have its partitions",
    "rolling restart": "SIGTERM of each worker in turn, the next one when all are ready again",
    "scale": "workers started, or ended by SIGTERM, until there are so many",
    "cut, held": "the network between a worker and its brokers carries nothing for so long; what was on its way then "
    "arrives after all",
    "cut, reset": "the same, but connections break, and none can be made meanwhile",
    "kill ingest": "kill -9 of an ingest, started again after so long",
    "kill bridge": "kill -9 of the bridge, started again after so long",
    "kill broker": "kill -9 of one of the three brokers, started again after so long",
    "retention": "the brokers delete the raw messages and summaries that state in the changelogs has included for so "
    "long: nobody may need them again",
}


@dataclass(frozen=True)
class Fault:
    """target: the number of the worker, ingest or broker, from 1; of a scale: how many workers. seconds: how long it
    lasts. pause: seconds before it. patient: it begins when the fleet is ready again, else in the middle of that.
    """

    kind: Kind
    target: int = 1
    seconds: float = 0.0
    pause: float = 1.0
    patient: bool = True


@dataclass(frozen=True)
class Schedule:
    """workers: how many there are at the start. lanes: see the file's rule."""

    workers: int
    lanes: tuple[Sequence[Fault], ...]

    @property
    def seconds(self) -> float:
        """About how long it takes: recovery, after all, is what is to be found out."""
        return max(sum(fault.pause + fault.seconds + _RECOVERY[fault.kind] for fault in lane) for lane in self.lanes)


_RECOVERY: dict[Kind, float] = {
    "kill worker": 14, "zombie": 14, "rolling restart": 40, "scale": 12, "cut, held": 14, "cut, reset": 14,
    "kill ingest": 4, "kill bridge": 12, "kill broker": 8, "retention": 1,
}  # fmt: skip
"""Seconds, roughly, on two cores: only how fast input flows follows from them."""

_SECONDS: dict[Kind, tuple[float, ...]] = {
    "kill worker": (0, 0, 2, SESSION + 3), "zombie": (SESSION + 3,), "rolling restart": (0,), "scale": (0,),
    "cut, held": (3, SESSION + 3, SESSION + 9), "cut, reset": (3, SESSION + 3, SESSION + 9),
    "kill ingest": (0, 1, 5), "kill bridge": (0, 1, 5), "kill broker": (0, 4, 10),
    "retention": (15,),
}  # fmt: skip
"""How long they can last; one of these."""

_TARGETS: dict[Kind, int] = {
    "cut, held": 1, "cut, reset": 1, "rolling restart": 1, "kill bridge": 1, "retention": 1,
    "kill ingest": INGESTS, "kill broker": BROKERS,
}  # fmt: skip
"""How many there are to choose from; of the others, as many as there are workers."""

_PATIENT = 0.7
"""Share of faults that wait until the fleet is ready again."""

SHORT: tuple[tuple[Sequence[Kind], ...], ...] = (
    (("kill worker", "zombie"), ("kill ingest",), ("retention",)),
    (("zombie", "cut, held"), (), ("retention", "kill broker")),
    (("scale", "cut, reset", "kill worker"), ("kill bridge",), ("retention",)),
)
"""The kinds of the short runs' lanes: together all but the slowest."""


def full(seed: int) -> Schedule:
    """Up from one worker to three, everything that can happen, down to two."""
    chance = Random(f"schedule {seed}")
    middle: list[Kind] = ["kill worker", "kill worker", "zombie", "zombie", "cut, held", "cut, reset"]
    middle.append(chance.choice(("rolling restart", "kill worker", "zombie")))
    sources: list[Kind] = ["kill ingest", "kill bridge", "kill ingest", "kill bridge", "kill ingest"]
    brokers: list[Kind] = ["retention", "kill broker"] * 3
    for kinds in (middle, sources):
        chance.shuffle(kinds)
    up, down = Fault("scale", 3), Fault("scale", 2, pause=2.0)
    workers = [up, *(_fault(chance, kind, WORKERS) for kind in middle), down]
    others = [[_fault(chance, kind, WORKERS) for kind in kinds] for kinds in (sources, brokers)]
    return Schedule(1, (workers, *others))


def short(seed: int) -> Schedule:
    """Some of it, in a minute or less."""
    chance = Random(f"schedule {seed}")
    kinds = SHORT[seed % len(SHORT)]
    start = 1 if "scale" in kinds[0] else 2
    lanes = tuple([_fault(chance, kind, 2, shortly=True) for kind in lane] for lane in kinds)
    return Schedule(start, lanes)


def _fault(chance: Random, kind: Kind, workers: int, *, shortly: bool = False) -> Fault:
    pause = round(chance.uniform(0.5, 2.0 if shortly else 6.0), 1)
    target, seconds = chance.randint(1, _TARGETS.get(kind, workers)), chance.choice(_SECONDS[kind])
    patient = kind in ("rolling restart", "kill broker", "retention") or chance.random() < _PATIENT
    return Fault(kind, workers if kind == "scale" else target, seconds, pause, patient)
