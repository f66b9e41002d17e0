"""The laws of the design, each a property over whole runs: lines in, panes, summaries, tables out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from streams.core import combine
from streams.core.combine import Folded, Policy, RawPartition, Summary
from streams.core.panes import Assign
from streams.core.raw import Origin, RawMessage
from tests.core.traffic import (
    ARRIVAL,
    FORMATS,
    SUMMARY_PARTITIONS,
    T0,
    Roll,
    any_lines,
    contents,
    count,
    counted,
    cut,
    cuts,
    examples,
    flow_lines,
    message,
    parts,
    run,
    shown,
    wild_lines,
)
from tests.core.watched import blocks, findings

VERSIONS = st.sampled_from((2, 5))
ASSIGNS: st.SearchStrategy[Assign] = st.sampled_from(("start", "end", "spread"))
SMALL = Policy(lateness=240, retained=3, eni_keys=5, port_keys=6, key_ttl=600, origins=1, watched=True, block_lines=4)
"""Limits that a dozen messages reach: panes expire, records are late, keys go over budget and out of date."""

CHANGES: tuple[Callable[[RawMessage], RawMessage], ...] = (
    lambda one: replace(one, value=one.value + b"\xff\xfe\x00 \r\n\r\n"),
    lambda one: replace(one, error="bad_gzip"),
    lambda one: replace(one, format="a a"),
    lambda one: replace(one, format=None),
    lambda one: replace(one, arrival_ms=T0 * 1000),
    lambda one: replace(one, replay=True),
)
"""What makes a message another than its neighbours."""

Offsets = list[tuple[int, RawMessage]]


def _letters(found: Iterable[Folded]) -> dict[str, str]:
    """Dead letters: id -> reason."""
    rows = [orjson.loads(row) for one in found for letter in one.dead_letters for row in letter.value.split(b"\n")]
    return {row["id"]: row["reason"] for row in rows}


def _lines(messages: Iterable[RawMessage]) -> int:
    """How many lines they count as: a payload that is undecodable, or of a format that is none, is one."""
    return sum(1 if one.format == "a a" else one.lines for one in messages)


def _last_time(line: str) -> int:
    return max((int(word) for word in line.split() if len(word) == len(str(T0)) and word.isdecimal()), default=0)


def _messages(draw: st.DrawFn, version: int, line: st.SearchStrategy[str], most: int = 8) -> list[RawMessage]:
    """Small messages: some alike, so that they are folded together, some undecodable or of unreadable format."""
    bundles = draw(st.lists(st.lists(line, min_size=1, max_size=3), min_size=4, max_size=most))
    if draw(st.booleans()):  # as time goes by: panes expire one by one
        in_time = sorted((text for bundle in bundles for text in bundle), key=_last_time)
        bundles = parts(in_time, map(len, bundles))
    found = [message(lines, version, "file", n) for n, lines in enumerate(bundles)]
    for n in draw(st.lists(st.integers(0, len(found) - 1), max_size=2)):
        found[n] = draw(st.sampled_from(CHANGES))(found[n])
    return found


# -- 1: conservation ---------------------------------------------------------------------------------------------------


@examples(12)
@given(st.data(), VERSIONS, ASSIGNS)
def test_lines_in_are_flows_and_all_the_other_outcomes_and_nothing_else(
    data: st.DataObject, version: int, assign: Assign
) -> None:
    """Law 1: every line has one outcome; flows, packets and bytes are the sums over panes and history, and roll's."""
    lines = data.draw(st.lists(any_lines(version, 3000), min_size=15, max_size=40))
    messages = cut(lines, data.draw(cuts(len(lines))), version)
    repeated = data.draw(st.lists(st.sampled_from(messages), max_size=3))

    found = run([[*messages, *repeated]], replace(SMALL, assign=assign))

    oracle = count(lines, version, assign)
    assert found.meta("lines") == oracle.lines
    assert found.meta("duplicates") == +Counter({"file": sum(one.lines for one in repeated)})
    totals = [found.states[0].meta.totals[name] for name in ("flows", "packets", "bytes")]
    assert totals == oracle.totals
    assert counted(found.states[0]) == {"eni": totals, "port": totals}
    for rows in found.roll.totals().values():
        assert [sum(counts[n] for counts in rows.values()) for n in range(3)] == totals


@examples(12)
@given(st.data(), VERSIONS, ASSIGNS)
def test_every_key_counts_what_a_count_with_dicts_gives_it(data: st.DataObject, version: int, assign: Assign) -> None:
    """Law 1, key by key and pane by pane."""
    lines = data.draw(st.lists(any_lines(version), min_size=15, max_size=40))

    found = run([cut(lines, data.draw(cuts(len(lines))), version)], Policy(assign=assign))

    oracle = count(lines, version, assign)
    assert found.roll.totals() == {"eni": oracle.enis, "port": oracle.ports}
    assert shown(found.roll.panes()) == shown({at: {"eni": a, "port": b} for at, (a, b) in oracle.panes.items()})


# -- 2: splitting, ordering, batching change nothing -------------------------------------------------------------------


@st.composite
def _small_messages(draw: st.DrawFn) -> list[RawMessage]:
    version = draw(VERSIONS)
    line = draw(st.sampled_from((flow_lines(version, 400), flow_lines(version, 3000), wild_lines(version))))
    return _messages(draw, version, line)


@examples(25)
@given(st.data(), _small_messages(), ASSIGNS, st.sampled_from((SMALL, SMALL, replace(SMALL, key_ttl=86_400))))
def test_batches_and_the_moments_of_summaries_do_not_show(
    data: st.DataObject, messages: list[RawMessage], assign: Assign, policy: Policy
) -> None:
    """Law 2: any grouping of messages into batches, any moments of summaries: the same state to the last counter."""
    policy = replace(policy, assign=assign)
    alone = run([messages], policy, batches=lambda n: [1] * n, summaries_after=lambda _: False)
    moments = data.draw(st.sets(st.integers(1, 6)))
    sizes = [1, *data.draw(cuts(len(messages) - 1))]

    together = run([messages], policy, batches=lambda _: sizes, summaries_after=lambda step: step in moments)

    assert contents(together.states[0]) == contents(alone.states[0])
    assert together.roll.totals() == alone.roll.totals()
    assert together.roll.panes() == alone.roll.panes()
    assert [state.clock.closed_before() for state in together.roll.states.values()] == [
        state.clock.closed_before() for state in alone.roll.states.values()
    ]


@examples(15)
@given(st.data(), VERSIONS, ASSIGNS)
def test_cuts_order_and_raw_partitions_do_not_show(data: st.DataObject, version: int, assign: Assign) -> None:
    """Law 2: lines in any order within the lateness, cut anywhere, over 1 to 3 raw partitions: the same tables."""
    lines = data.draw(st.lists(any_lines(version), min_size=12, max_size=30))
    mixed = data.draw(st.permutations(lines))
    messages = cut(mixed, data.draw(cuts(len(lines), most=8)), version)
    places = data.draw(st.lists(st.integers(0, 2), min_size=len(messages), max_size=len(messages)))
    partitions = [[one for one, at in zip(messages, places, strict=True) if at == n] for n in range(3)]

    found = run(partitions, Policy(assign=assign), batches=lambda n: data.draw(cuts(n)))

    oracle = count(lines, version, assign)
    assert found.meta("lines") == oracle.lines
    assert found.meta("totals")["late"] == 0
    assert found.roll.totals() == {"eni": oracle.enis, "port": oracle.ports}
    assert shown(found.roll.panes()) == shown({at: {"eni": a, "port": b} for at, (a, b) in oracle.panes.items()})


# -- 3: redelivery changes nothing -------------------------------------------------------------------------------------


@examples(14)
@given(st.data(), _small_messages(), ASSIGNS)
def test_raw_messages_delivered_again_change_nothing(
    data: st.DataObject, messages: list[RawMessage], assign: Assign
) -> None:
    """Law 3: at the same offset (Kafka's doing) or at a later one (the source's): only the duplicates are counted."""
    policy = replace(SMALL, assign=assign)
    once = run([messages], policy).states[0]
    log: Offsets = list(enumerate(messages))
    log += [(len(log) + n, one) for n, one in enumerate(data.draw(st.lists(st.sampled_from(messages), max_size=3)))]
    delivered = list(log)
    for start in data.draw(st.lists(st.integers(0, len(log) - 1), max_size=3)):
        at = data.draw(st.integers(start + 1, len(delivered)))
        delivered[at:at] = log[start : delivered[at - 1][0] + 1]  # the reader went back to `start`

    state = RawPartition(0, policy)
    for batch in parts(delivered, data.draw(cuts(len(delivered)))):
        state.fold(batch)

    assert sum(state.meta.duplicates.values()) == _lines(one for _, one in log[len(messages) :])
    state.meta.duplicates.clear()
    state.meta.stamp = once.meta.stamp
    assert contents(state) == contents(once)


@examples(12)
@given(st.data(), VERSIONS)
def test_a_bridge_that_reads_again_from_anywhere_changes_nothing(data: st.DataObject, version: int) -> None:
    """Law 3: ranges of source offsets that overlap in part, cut elsewhere: each offset counts once."""
    lines = data.draw(st.lists(flow_lines(version), min_size=6, max_size=16))
    messages: list[RawMessage] = []
    sent = position = 0
    while position < len(lines):
        position = data.draw(st.integers(0, sent)) if data.draw(st.booleans()) else position
        end = data.draw(st.integers(position + 1, len(lines)))
        some = message(lines[position:end], version, "topic/0")
        messages.append(replace(some, origin=Origin("bridge", "topic/0", f"{position}-{end - 1}")))
        sent, position = max(sent, end), end

    found = run([messages], Policy(), batches=lambda n: data.draw(cuts(n)))

    oracle = count(lines, version)
    assert found.meta("lines") == oracle.lines
    assert found.meta("duplicates")["bridge"] == sum(one.lines for one in messages) - len(lines)
    assert found.roll.totals() == {"eni": oracle.enis, "port": oracle.ports}


def _emitted(messages: Sequence[RawMessage], policy: Policy, sizes: Iterable[int]) -> list[Summary]:
    state, found = RawPartition(0, policy), []
    for n, batch in enumerate(parts(list(enumerate(messages)), sizes)):
        state.fold(batch)
        found += state.summaries(SUMMARY_PARTITIONS, idle=n % 3 == 2)
    return found + state.summaries(SUMMARY_PARTITIONS)


@examples(8)
@given(st.data(), _small_messages())
def test_summaries_repeated_reordered_and_stale_change_nothing(data: st.DataObject, messages: list[RawMessage]) -> None:
    """Law 3: the newest stamp wins, in whatever order and how often summaries come; also across a restart of roll."""
    emitted = _emitted(messages, SMALL, data.draw(cuts(len(messages))))
    in_order, mixed = Roll(), Roll()
    in_order.take(emitted)
    flows = run([messages], SMALL).states[0].meta.totals["flows"]
    assert sum(counts[0] for counts in in_order.totals()["eni"].values()) == flows
    again = data.draw(st.lists(st.sampled_from(emitted), max_size=6)) if emitted else []

    mixed.take(data.draw(st.permutations([*emitted, *again])))
    rows = {at: one.checkpoint()[0].items() for at, one in mixed.states.items()}
    mixed.restart({at: {name: value for name, value in some if value} for at, some in rows.items()})
    mixed.take(again)

    assert mixed.totals() == in_order.totals()
    assert mixed.panes() == in_order.panes()
    for at, state in mixed.states.items():
        assert state.clock == in_order.states[at].clock
        assert state.standing().info().sort("eni").equals(in_order.states[at].standing().info().sort("eni"))


# -- 4: a crash at any moment changes nothing --------------------------------------------------------------------------


def _some(rows: Mapping[str, bytes | None], data: st.DataObject | None) -> dict[str, bytes | None]:
    """Any of `rows`: they are written in any order."""
    assert data is not None
    names = data.draw(st.lists(st.sampled_from(sorted(rows)), unique=True)) if rows else []
    return {name: rows[name] for name in names}


@dataclass
class Worker:
    """A raw partition, its topic, and the store behind it. What was sent since a checkpoint may be lost in a crash."""

    log: Offsets
    policy: Policy
    summaries: list[Summary] = field(default_factory=list)
    blocks: list[Summary] = field(default_factory=list)
    store: dict[str, bytes] = field(default_factory=dict)
    folded: list[Folded] = field(default_factory=list)
    position: int = 0
    acknowledged: int = 0
    _unsafe: list[Summary] = field(default_factory=list)
    _unsafe_blocks: list[Summary] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = RawPartition(0, self.policy)

    def fold(self, messages: int) -> None:
        self.folded.append(self.state.fold(self.log[self.position : self.position + messages]))
        self.position = min(len(self.log), self.position + messages)

    def summarise(self) -> None:
        self._unsafe += sorted(self.state.summaries(SUMMARY_PARTITIONS), key=lambda one: (one.key, one.partition))
        self._unsafe_blocks += self.state.whole_blocks(SUMMARY_PARTITIONS)

    def checkpoint(self, broken: st.DataObject | None = None) -> None:
        """Write the rows of the first set, then those of the second; broken: only some of one of them."""
        self.summaries += self._unsafe
        self.blocks += self._unsafe_blocks
        self._unsafe, self._unsafe_blocks = [], []
        rows, settling = self.state.checkpoint()
        whole = broken is None or broken.draw(st.booleans())
        self._write(rows if whole else _some(rows, broken))
        if whole:
            self._write(settling if broken is None else _some(settling, broken))
        if broken is None:
            self.acknowledged = self.position

    def crash(self, data: st.DataObject) -> None:
        """Start again from what is stored, from the acknowledged offset or before."""
        self.summaries += data.draw(st.lists(st.sampled_from(self._unsafe), unique_by=id)) if self._unsafe else []
        self.blocks += self._unsafe_blocks[: data.draw(st.integers(0, len(self._unsafe_blocks)))]
        self._unsafe, self._unsafe_blocks = [], []
        self.position = data.draw(st.integers(max(0, self.acknowledged - 2), self.acknowledged))
        self.state = RawPartition(0, self.policy, combine.newest({"": self.store}))

    def _write(self, rows: Mapping[str, bytes | None]) -> None:
        for name, value in rows.items():
            self.store[name] = value or b""
            if value is None:
                del self.store[name]


def _live(worker: Worker, data: st.DataObject) -> None:
    """Fold, summarise, checkpoint and crash as Hypothesis likes; then to the end of the log."""
    kinds = st.sampled_from(("", "summarise", "checkpoint", "checkpoint", "crash", "break", "break"))
    for step in data.draw(st.lists(kinds, min_size=6, max_size=12)):
        worker.fold(data.draw(st.integers(1, 2)))
        if step == "summarise":
            worker.summarise()
        elif step == "checkpoint":
            worker.checkpoint()
        elif step:
            if step == "break":
                worker.checkpoint(broken=data)
            worker.crash(data)
    worker.fold(len(worker.log))
    worker.summarise()
    worker.checkpoint()


def _sparse(messages: Sequence[RawMessage], step: int) -> Offsets:
    return [(n * step, one) for n, one in enumerate(messages)]


@examples(22)
@given(st.data(), _small_messages(), ASSIGNS, st.sampled_from((1, 700)))
def test_a_crash_between_any_two_writes_changes_nothing(
    data: st.DataObject, messages: list[RawMessage], assign: Assign, step: int
) -> None:
    """Law 4: the state, the tables and the dead letters are those of a worker that never died, to the last counter."""
    repeated = data.draw(st.lists(st.sampled_from(messages), max_size=3))
    policy = replace(SMALL, assign=assign)
    steady = Worker(_sparse([*messages, *repeated], step), policy)
    steady.fold(len(steady.log))
    steady.summarise()
    steady.checkpoint()
    mortal = Worker(_sparse([*messages, *repeated], step), policy)

    _live(mortal, data)

    assert contents(mortal.state) == contents(steady.state)
    assert blocks(mortal.blocks) == blocks(steady.blocks)
    assert findings(mortal.blocks) == findings(steady.blocks)
    assert _letters(mortal.folded) == _letters(steady.folded)
    one, other = Roll(), Roll()
    one.take(mortal.summaries)
    other.take(steady.summaries)
    assert one.totals() == other.totals()
    assert one.panes() == other.panes()


@examples(8)
@given(st.data(), VERSIONS)
def test_after_crashes_the_tables_are_those_of_the_lines(data: st.DataObject, version: int) -> None:
    """Law 4, against the count with dicts."""
    lines = data.draw(st.lists(any_lines(version, 3000), min_size=12, max_size=30))
    messages = cut(lines, data.draw(cuts(len(lines), most=10)), version)
    worker = Worker(_sparse(messages, 1), Policy(retained=3, lateness=240))

    _live(worker, data)

    oracle = count(lines, version)
    roll = Roll()
    roll.take(worker.summaries)
    assert +worker.state.meta.lines == oracle.lines
    assert roll.totals() == {"eni": oracle.enis, "port": oracle.ports}


@examples(8)
@given(st.data(), _small_messages())
def test_what_a_crash_leaves_behind_is_cleared(data: st.DataObject, messages: list[RawMessage]) -> None:
    """Laws 4 and 6: two checkpoints later the store holds the rows of the state and no others."""
    worker = Worker(_sparse(messages[:-1], 700), SMALL)
    _live(worker, data)
    worker.log.append((len(messages) * 700, messages[-1]))

    worker.fold(1)
    worker.summarise()
    for _ in range(2):
        worker.checkpoint()

    assert sum(name.startswith("talks/") for name in worker.store) <= 1
    names = {name for name in worker.store if name.startswith("pane/")}
    assert names == {f"pane/{start}" for start in worker.state.panes}
    assert sum(name.startswith(("history/", "known/")) for name in worker.store) <= 4
    assert len([name for name in worker.store if name.startswith("origins/")]) <= 2


@examples(8)
@given(st.data(), _small_messages())
def test_a_crash_of_roll_changes_nothing(data: st.DataObject, messages: list[RawMessage]) -> None:
    """Law 4, the second half: any rows of a checkpoint survive, summaries are read again from the acknowledged one."""
    emitted = _emitted(messages, SMALL, data.draw(cuts(len(messages))))
    steady, mortal = Roll(), Roll()
    steady.take(emitted)
    store: dict[int, dict[str, bytes]] = {}
    acknowledged = position = 0
    for some in data.draw(cuts(len(emitted))):
        mortal.take(emitted[position : position + some])
        position += some
        whole = data.draw(st.booleans())
        for at, state in mortal.states.items():
            rows, then = state.checkpoint()
            kept = {name: value for name, value in rows.items() if whole or data.draw(st.booleans())}
            kept |= then if len(kept) == len(rows) else {}
            held = {**store.get(at, {}), **kept}
            store[at] = {name: value for name, value in held.items() if value is not None}
        acknowledged = position if whole else acknowledged
        if not whole:
            position = acknowledged
            mortal.restart(store)
    mortal.take(emitted[position:])

    assert mortal.totals() == steady.totals()
    assert mortal.panes() == steady.panes()


# -- 5: live equals replay ---------------------------------------------------------------------------------------------


@examples(8)
@given(st.data(), VERSIONS, ASSIGNS)
def test_a_replay_gives_the_same_closed_panes_as_live(data: st.DataObject, version: int, assign: Assign) -> None:
    """Law 5: neither the mark nor the clock on the wall shows in a pane."""
    lines = data.draw(st.lists(any_lines(version, 3000), min_size=12, max_size=30))
    sizes = data.draw(cuts(len(lines)))
    live = cut(lines, sizes, version)
    arrivals = [ARRIVAL + data.draw(st.integers(0, 10**9)) for _ in live]
    policy = Policy(assign=assign, lateness=240, retained=20)

    replayed = [replace(one, replay=True, arrival_ms=at) for one, at in zip(live, arrivals, strict=True)]

    first, second = run([live], policy), run([replayed], policy)
    assert second.roll.panes() == first.roll.panes()
    assert second.roll.totals() == first.roll.totals()
    assert second.meta("totals") == first.meta("totals")
    assert [sum(frame.height for frame in state.totals().values()) for state in second.roll.states.values()] == [
        0 for _ in second.roll.states
    ]


# -- 6: bounded, and 7: nothing uncounted ------------------------------------------------------------------------------


def _hostile(n: int, version: int) -> str:
    """Every line another ENI, port, protocol, address and time."""
    at = T0 + n * 37 % 90_000
    words = f"{version} 123456789012 eni-{n:08x} 10.{n % 256}.0.1 192.0.2.{n % 250} {n} {n * 7 % 65536} {n % 256}"
    line = f"{words} 1 40 {at} {at + n % 50} ACCEPT OK"
    return line if version == 2 else f"{line} - vpc-{n:x} i-{n:x} -"


def test_hostile_input_stays_inside_the_limits_and_is_counted() -> None:
    """Laws 6 and 7: every line another key and time, every message another origin; limits hold, sums are exact."""
    policy = Policy(retained=5, lateness=120, eni_keys=50, port_keys=40, key_ttl=3600, origins=1, assign="spread")
    state, roll, log = RawPartition(0, policy), Roll(), []
    for n in range(40):
        lines = [_hostile(n * 25 + k, 5) for k in range(25)]
        log.append((n * 500, message(lines, 5, f"origin-{n}")))
    letters = [state.fold([one]) for one in log]
    roll.take(state.summaries(SUMMARY_PARTITIONS))

    assert len(state.panes) <= 5
    assert len(state.origins) <= 2 * 1024
    assert state.known.admitted["eni"].height <= 50
    assert state.known.admitted["port"].height <= 40
    assert {frame.height <= 2 * 50 for frame in (state.known.owners, state.known.info)} == {True}
    frames = [pane.value() for pane in (*state.panes.values(), state.history)]
    assert max(frame["eni"].height for frame in frames) <= 50 * 3 + 2
    assert max(frame["port"].height for frame in frames) <= 40 + 2
    totals = state.meta.totals
    assert counted(state) == {name: [1000, 1000, 40_000] for name in ("eni", "port")}
    assert totals["flows"] == sum(state.meta.lines.values()) == 1000
    assert state.meta.over_budget["eni"] > 0
    assert state.meta.expired["eni"] > 0
    special = {key[0]: counts for key, counts in roll.totals()["eni"].items() if key[0] in ("other", "expired")}
    assert special["other"][0] == state.meta.over_budget["eni"]
    assert not _letters(letters)


@examples(14)
@given(st.data(), VERSIONS)
def test_whatever_is_dropped_some_counter_moved_and_it_has_a_reason(data: st.DataObject, version: int) -> None:
    """Law 7: each reject is counted under a reason and is one dead letter; late and early records are in the totals."""
    junk = st.text(st.characters(exclude_characters="\n"), max_size=40)
    line = st.one_of(any_lines(version, 3000), wild_lines(version), junk)
    messages = data.draw(st.composite(_messages)(version, line))

    messages += data.draw(st.lists(st.sampled_from(messages), max_size=3))
    state = RawPartition(0, SMALL)
    folded = [state.fold(batch) for batch in parts(list(enumerate(messages)), data.draw(cuts(len(messages))))]

    meta, letters = state.meta, _letters(folded)
    assert sum(meta.lines.values()) + sum(meta.duplicates.values()) == _lines(messages)
    assert +Counter(letters.values()) == +meta.rejects
    assert meta.lines["reject"] == sum(meta.rejects.values())
    assert counted(state)["eni"] == [meta.totals[name] for name in ("flows", "packets", "bytes")]
    assert meta.totals["flows"] == meta.lines["flow"]
    assert sum(one.messages for one in folded) == len(messages)


def test_the_formats_of_the_traffic_are_those_of_the_lines() -> None:
    """A guard for the tests above: the count with dicts and the lines agree on the fields."""
    for version, names in FORMATS.items():
        lines = [_hostile(1, version)]
        assert len(lines[0].split()) == len(names.split())
        assert count(lines, version).lines == {"flow": 1}
