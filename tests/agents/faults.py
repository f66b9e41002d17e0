"""What can happen to workers and their Kafka, and schedules of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from streams.agents.loop import Loop
from tests.agents.simulation import MOST_WORKERS, Kit, Phase, World
from tests.agents.stored import Tp

Step = tuple[int, str, int]
"""Points that go on, the fault that follows (a key of FAULTS), its argument: whom it hits, how much, in what order."""


def publish(world: World, argument: int) -> None:
    """No fault: some messages come."""
    for number in range(1 + argument // 32 * 2):
        world.publish(argument + number // 2)


def crash(world: World, argument: int) -> None:
    """kill -9, of what was on its way some lands later. Another worker starts, or not."""
    worker = world.whom(argument)
    world.remove(worker, argument // 4 % 4)
    if argument // 16 % 2 and len(world.workers) < MOST_WORKERS:
        world.join()


def oust(world: World, argument: int) -> None:
    """The group gives a member up, which does not know it and works on; frozen, if it was for that."""
    if len(world.workers) == MOST_WORKERS:
        return
    worker = world.members.pop(argument % len(world.members))
    worker.bounds = {tp: logged.end for tp, logged in world.kafka.logs.items()}
    worker.frozen = bool(argument // 4 % 2)
    world.lost_ones.append(worker)
    if world.members:
        world.rebalance()
    else:
        world.join()


def freeze(world: World, argument: int) -> None:
    """A worker stands still, or goes on after a while; or so late that its writes have timed out."""
    worker = world.whom(argument)
    worker.frozen = not worker.frozen
    if argument // 16 % 4 == 3 and not worker.frozen:
        worker.clock.pass_time(61)
        worker.clock.run()


def learn(world: World, argument: int) -> None:
    """One that was given up learns it, and joins again."""
    world.whom(argument).learn()


def join(world: World, argument: int) -> None:
    if len(world.workers) < MOST_WORKERS:
        world.join()


def leave(world: World, argument: int) -> None:
    """SIGTERM."""
    worker = world.whom(argument)
    if not worker.is_stopping and worker.phase is not Phase.LEAVING:
        worker.stop()


def rebalance(world: World, argument: int) -> None:
    world.rebalance()


def unconfirmed(world: World, argument: int) -> None:
    """Some of what is on its way lands, and nobody is told. Called again, the same lands twice."""
    worker = world.whom(argument)
    for tp in [tp for tp, sends in worker.sends.items() if sends]:
        worker.land(tp, 1 + argument // 4 % 4)


def hold(world: World, argument: int) -> None:
    """Nothing that a worker sends to some partition is confirmed, or it is again."""
    worker = world.whom(argument)
    waiting = [tp for tp, sends in worker.sends.items() if sends]
    if worker.held or not waiting:
        worker.held.clear()
    else:
        worker.held.add(waiting[argument // 4 % len(waiting)])


def late(world: World, argument: int) -> None:
    """A record of somebody dead lands; what is left of it may be gone for good."""
    if world.kafka.ghosts:
        world.kafka.land_late(argument, last=argument // 16 == 3)


def step_over(world: World, argument: int) -> None:
    world.whom(argument).step_over()


def again(world: World, argument: int) -> None:
    """A consumer goes back: to the committed offset, or to the beginning."""
    worker = world.whom(argument)
    for tp, position in worker.positions.items():
        worker.positions[tp] = min(position, world.kafka.committed.get(tp, 0) * (argument // 4 % 2))


def retain(world: World, argument: int) -> None:
    """Not while somebody opens: what it read of the changelog may be older than what is there by now."""
    if any(not loop.is_open for worker in world.workers for loop in worker.loops.values()):
        return
    for tp, logged in world.kafka.logs.items():
        held = [loop.state.stamp(loop.states[tp[1]]) for loop in _holders(world, tp)]
        stored = world.probes[tp[0]].stamp(world.restored(*tp))
        logged.retain(min([stored, *held]) + 1)


def _holders(world: World, tp: Tp) -> Iterator[Loop[Any]]:
    """Loops that hold a partition, of members and of others."""
    return (worker.loops[tp[0]] for worker in world.workers if tp[1] in worker.loops[tp[0]].states)


def flush(world: World, argument: int) -> None:
    """Summaries without a checkpoint: `run` makes some of these between two checkpoints."""
    worker = world.whom(argument)
    if not worker.is_stopping:
        worker.flush()


FAULTS: dict[str, Callable[[World, int], None]] = {
    one.__name__: one
    for one in (
        publish, crash, oust, freeze, learn, rebalance, unconfirmed, hold, late, step_over, again, join, leave, retain,
        flush,
    )
}  # fmt: skip

MIXES = {
    "crashes": "publish publish publish crash crash crash unconfirmed hold late late flush rebalance join retain",
    "zombies": "publish publish publish oust oust freeze freeze learn crash crash late leave join retain unconfirmed",
    "delivery": "publish publish publish step_over step_over again rebalance rebalance join leave crash oust retain",
    "everything": " ".join(("publish publish publish", *FAULTS)),
}
"""What a schedule has most of: keys of FAULTS, each as often as it is meant to come."""


def run(kit: Kit, schedule: Iterable[Step], loop_type: type[Loop[Any]] = Loop) -> World:
    """The schedule, then all comes to rest. Raises AssertionError when something does not hold."""
    world = World(kit, loop_type)
    try:
        for points, fault, argument in schedule:
            world.go_on(points, argument)
            FAULTS[fault](world, argument)
            world.after_move()
            world.check()
        world.come_to_rest()
    finally:
        world.end()
    return world


def steps(chance: random.Random, mix: str) -> list[Step]:
    """A schedule by chance."""
    faults = MIXES[mix].split()
    return [(chance.randint(0, 40), chance.choice(faults), chance.randint(0, 63)) for _ in range(chance.randint(4, 16))]
