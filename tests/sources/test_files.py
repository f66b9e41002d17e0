"""Files, folders and standard input: everything in them is given once, whatever they are packed in."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.raw import TARGET_BYTES, RawMessage
from streams.sources.files import KEPT, LONGEST_LINE, Piece, _cut, files, pieces, read
from tests.sources.samples import V2, A, B, C, body, many, message, shared

HEADER = V2.encode()
MANY = many(20_000)
UNREADABLE = Path("/proc/self/mem")
TEXT = "\n".join(MANY).encode()


def text_of(found: Sequence[Piece]) -> bytes:
    return b"\n".join(piece.lines for piece in found if not piece.error)


def errors_of(found: Sequence[Piece]) -> list[str]:
    return [piece.error for piece in found if piece.error]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def records_frame(lines: Sequence[str]) -> pl.DataFrame:
    """The columns as AWS writes them to Parquet."""
    columns = dict(zip(V2.replace("-", "_").split(), zip(*(line.split() for line in lines), strict=True), strict=True))
    numbers = ("version", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end")
    frame = pl.DataFrame({name: list(values) for name, values in columns.items()})
    return frame.with_columns(
        pl.col(*numbers).replace("-", None).cast(pl.Int64), pl.col("^.*addr|action$").replace("-", None)
    )


def parquet(frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.write_parquet(stream, row_group_size=5000)
    return stream.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "line end at the end": lambda text: text + b"\n",
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "gzip": gzip.compress,
    "gzip members": lambda text: gzip.compress(text[: len(text) // 3]) + gzip.compress(text[len(text) // 3 :]),
    "zstd": zstandard.compress,
    "one JSON object a line": lambda text: b"".join(message(line) + b"\n" for line in text.decode().split("\n")),
    "JSON, nothing between": lambda text: b"".join(message(line) for line in text.decode().split("\n")),
    "JSON, gzip": lambda text: gzip.compress(b"".join(message(line) for line in text.decode().split("\n"))),
    "pretty JSON": lambda text: json.dumps([{"message": one} for one in text.decode().split("\n")], indent=1).encode(),
    "Firehose bodies": lambda text: b"\n".join(
        body([message(line) for line in text.decode().split("\n")[at : at + 500]]) for at in range(0, 20_000, 500)
    ),
    "Parquet": lambda text: parquet(records_frame(text.decode().split("\n"))),
}  # fmt: skip


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_every_line_is_given_once_and_in_order(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "flows", pack(TEXT))
    found = list(pieces([path]))

    assert text_of(found) == TEXT
    assert errors_of(found) == []
    assert {piece.path for piece in found} == {str(path)}
    assert all(len(piece.lines) < 2 * TARGET_BYTES for piece in found)
    starts = [piece.first_line for piece in found]
    assert starts == [TEXT[: sum(len(p.lines) + 1 for p in found[:n])].count(b"\n") for n in range(len(found))]


@pytest.mark.parametrize("pack", [PACKED["plain"], PACKED["gzip"], PACKED["zstd"]], ids=["plain", "gzip", "zstd"])
def test_the_header_is_in_the_first_piece_and_its_format_in_all(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    found = list(pieces([write(tmp_path / "flows", pack(HEADER + b"\n" + TEXT))]))

    assert text_of(found) == HEADER + b"\n" + TEXT
    assert len(found) > 3
    assert {piece.format for piece in found} == {V2}
    assert [HEADER in piece.lines for piece in found] == [True] + [False] * (len(found) - 1)


def test_a_header_on_the_way_changes_the_format_from_there_on(tmp_path: Path) -> None:
    other = "interface-id srcaddr dstaddr"
    text = TEXT + b"\n" + other.encode() + b"\n" + b"\n".join([b"eni-1 10.0.0.1 10.0.0.2"] * 50_000)
    found = list(pieces([write(tmp_path / "flows", text)]))

    assert text_of(found) == text
    formats = [piece.format for piece in found]
    assert formats == sorted(formats, key=lambda fmt: fmt is not None)
    assert set(formats) == {None, other}
    assert next(piece for piece in found if piece.format).lines.startswith(other.encode())


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=60),
    st.randoms(use_true_random=False),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_parts_depend_on_the_bytes_alone(lines: list[bytes], random: object, end: bool) -> None:
    text = b"\n".join(line * 4000 for line in lines) + b"\n" * end
    cuts = sorted({random.randrange(len(text) + 1) for _ in range(5)})  # type: ignore[attr-defined]
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    whole = list(_cut(iter([text]), b"\n", LONGEST_LINE))
    assert list(_cut(iter(chunks), b"\n", LONGEST_LINE)) == whole
    assert b"\n".join(part for part, _ in whole) == text.removesuffix(b"\n")


# -- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_gives_names_with_hyphens_and_unknown_values_as_such(tmp_path: Path) -> None:
    frame = records_frame([A, C]).with_columns(
        pl.Series("instance_tag", ["web server", ""]),
        pl.Series("nested", [[1], [2]]),
        pl.from_epoch("start"),
        pl.col("account_id").cast(pl.Int64),
        pl.col("bytes").cast(pl.Float64),
        pl.col("action").cast(pl.Categorical),
    )
    [piece] = pieces([write(tmp_path / "flows.parquet", parquet(frame))])

    assert piece.format == f"{V2} instance-tag"
    assert piece.lines.decode().split("\n") == [f"{A} web%20server", f"{C} -"]


def test_zeros_in_front_of_an_account_come_back(tmp_path: Path) -> None:
    frame = records_frame([A]).with_columns(pl.lit(58694856476).alias("account_id"))
    [piece] = pieces([write(tmp_path / "flows.parquet", parquet(frame))])

    assert piece.lines.decode().split(" ")[1] == "058694856476"


def test_parquet_of_something_else_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", parquet(pl.DataFrame({"version": [1], "region": ["x"]})))

    [piece] = pieces([path])
    assert (piece.error, piece.lines) == ("no_lines", b"Parquet of something else: version, region")


def test_broken_parquet_is_told_and_what_was_before_it_given(tmp_path: Path) -> None:
    whole = parquet(records_frame(MANY))
    cut = write(tmp_path / "cut.parquet", whole[: len(whole) // 2])
    middle = len(whole) // 2
    spoilt = write(tmp_path / "spoilt.parquet", whole[:middle] + bytes(5000) + whole[middle + 5000 :])

    assert errors_of(list(pieces([cut]))) == ["bad_parquet"]
    found = list(pieces([spoilt]))
    assert errors_of(found)[-1:] == ["bad_parquet"]
    assert TEXT.startswith(text_of(found))


def test_parquet_of_ocsf_is_not_taken_for_flow_logs() -> None:
    paths = sorted(shared("data/ocsf").rglob("example*.parquet"))

    assert paths
    assert errors_of(list(pieces(paths))) == ["no_lines"] * len(paths)


# -- what is broken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_what_can_be_read_of_a_cut_file_is_given_and_the_rest_told(name: str, tmp_path: Path) -> None:
    packed = PACKED[name](TEXT)
    cut, whole = write(tmp_path / "a", packed[: len(packed) * 2 // 3]), write(tmp_path / "b", A.encode())

    found = list(pieces([cut, whole]))

    assert errors_of(found) == ["bad_gzip"]
    assert found[-1].lines == A.encode()
    given = text_of(found[:-2])
    assert TEXT.startswith(given)
    assert len(given) > len(TEXT) // 3


def test_a_line_without_end_is_told_once_and_costs_nobody_else(tmp_path: Path) -> None:
    text = A.encode() + b"\n" + b"x" * (3 * LONGEST_LINE) + b"\n" + B.encode() + b"\n" + b"y" * (3 * LONGEST_LINE)
    found = list(pieces([write(tmp_path / "flows", text)]))

    assert [(piece.lines, piece.error) for piece in found] == [
        (A.encode(), None),
        (b"x" * KEPT, "too_long"),
        (B.encode(), None),
        (b"y" * KEPT, "too_long"),
    ]
    assert [piece.first_line for piece in found] == [0, 1, 2, 3]


def test_a_long_line_that_can_be_given_is_given(tmp_path: Path) -> None:
    text = A.encode() + b"\n" + b"x" * LONGEST_LINE + b"\n" + B.encode()

    assert text_of(list(pieces([write(tmp_path / "flows", text)]))) == text


def test_broken_json_lines_do_not_cost_their_neighbours(tmp_path: Path) -> None:
    text = message(A) + b'\n{"message":\n{"x":1}\n' + message(B)
    found = list(pieces([write(tmp_path / "flows.json", text)]))

    assert text_of(found) == f"{A}\n{B}".encode()
    assert errors_of(found) == ["bad_json", "no_lines"]


def test_a_path_that_is_not_there_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "flows", A.encode())

    with pytest.raises(FileNotFoundError, match="nowhere"):
        pieces([path, tmp_path / "nowhere"])


@pytest.mark.skipif(not UNREADABLE.exists(), reason="no file here that even root can't read")
def test_a_file_that_cannot_be_read_is_told_by_name_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.symlink_to(UNREADABLE)
    found = list(pieces([broken, write(tmp_path / "flows", A.encode())]))

    assert errors_of(found) == ["undecodable"]
    assert text_of(found) == A.encode()
    assert str(broken) in caplog.text


@given(st.binary(max_size=3000), st.sampled_from([bytes, gzip.compress, zstandard.compress]), st.integers(0, 3000))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, content: bytes, pack: object, cut: int) -> None:
    packed: bytes = pack(content)  # type: ignore[operator]
    path = write(tmp_path_factory.mktemp("any") / "flows", packed[: max(1, len(packed) - cut)])

    is_empty = not content.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")  # a byte-order mark is no line
    assert list(pieces([path])) or is_empty or cut


# -- folders and standard input ---------------------------------------------------------------------------------------


def test_a_folder_is_read_by_path_and_what_holds_no_logs_is_left(tmp_path: Path) -> None:
    for name in ("b/2.log", "b/1.log.gz", "a/flows.parquet", "c.txt"):
        write(tmp_path / name, b"x")
    for name in (".hidden", ".git/x.log", "README.md", "b/_SUCCESS", "b/.1.log.crc", "x.crc"):
        write(tmp_path / name, b"x")

    assert [str(path.relative_to(tmp_path)) for path in files([tmp_path])] == [
        "a/flows.parquet",
        "b/1.log.gz",
        "b/2.log",
        "c.txt",
    ]
    assert files([tmp_path / ".hidden"]) == [tmp_path / ".hidden"]


READ_STDIN = "from streams.sources.files import pieces; import sys; {}".format(
    "[sys.stdout.buffer.write(p.lines + b'\\n') for p in pieces(['-']) if not p.error]"
)


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_standard_input_is_read_like_a_file(pack: Callable[[bytes], bytes]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_STDIN], input=pack(TEXT), capture_output=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip

    assert done.stdout.removesuffix(b"\n") == TEXT


# -- raw messages -----------------------------------------------------------------------------------------------------


def keys(messages: Sequence[RawMessage]) -> list[bytes]:
    return [one.origin.key() for one in messages]


def test_messages_carry_format_history_and_arrival(tmp_path: Path) -> None:
    path = write(tmp_path / "flows", HEADER + b"\n" + TEXT)
    found = list(read([path], clock=lambda: 12.5))

    assert b"\n".join(one.value for one in found) == HEADER + b"\n" + TEXT
    assert {(one.origin.source, one.replay, one.format, one.arrival_ms) for one in found} == {("file", True, V2, 12500)}
    assert [one.origin.part for one in found] == [str(n) for n in range(len(found))]
    assert all(len(one.value) < TARGET_BYTES + 200 for one in found)


def test_a_given_format_and_live_are_for_what_tells_none(tmp_path: Path) -> None:
    [one] = read([write(tmp_path / "flows", A.encode())], format="version bytes", replay=False)

    assert (one.format, one.replay) == ("version bytes", False)


def test_a_file_read_again_from_elsewhere_has_the_same_origins(tmp_path: Path) -> None:
    here, there = write(tmp_path / "a/flows.gz", gzip.compress(TEXT)), tmp_path / "b/c/flows.gz"
    first = keys(list(read([here])))
    there.parent.mkdir(parents=True)
    here.rename(there)

    assert keys(list(read([tmp_path / "b"]))) == first
    assert len(set(first)) == len(first) > 1


def test_again_makes_a_new_run_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "flows", TEXT)
    runs = [keys(list(read([path], again=again))) for again in (None, "x", "y", "x")]

    assert runs[1] == runs[3]
    assert len(set(runs[0] + runs[1] + runs[2])) == 3 * len(runs[0])


def test_files_of_one_name_with_other_lines_are_others(tmp_path: Path) -> None:
    paths = [write(tmp_path / folder / "flows", TEXT + end) for folder, end in (("a", b""), ("b", b"\n" + A.encode()))]
    one, other = (keys(list(read([path]))) for path in paths)

    assert not set(one) & set(other)


def test_what_cannot_be_read_goes_on_as_an_error(tmp_path: Path) -> None:
    found = list(read([write(tmp_path / "flows.gz", gzip.compress(A.encode())[:-1])]))

    assert [(one.value, one.error) for one in found] == [
        (A.encode(), None),
        (b"the compressed data is cut off or damaged here", "bad_gzip"),
    ]


def test_the_foreign_samples_are_read_line_for_line() -> None:
    paths = [*shared("data/real-vpc").rglob("*.gz"), *shared("data/labelled").rglob("flows.log.gz")]
    assert len(paths) >= 3
    for path in paths:
        assert text_of(list(pieces([path]))) == gzip.decompress(path.read_bytes()).rstrip(b"\n")


NAME_STDIN = "from streams.sources.files import read; print(*(one.origin.name for one in read(['-'])), sep='\\n')"


def test_standard_input_is_known_by_what_it_begins_with() -> None:
    def names(content: bytes) -> list[str]:
        command = [sys.executable, "-c", NAME_STDIN]
        done = subprocess.run(command, input=content, capture_output=True, check=True, cwd=Path(__file__).parents[2])
        return done.stdout.decode().split()

    first, again, other = names(TEXT), names(TEXT), names(A.encode() + b"\n" + TEXT)
    assert len(first) > 3
    assert len({*first, *again}) == 1
    assert set(first) != set(other)


# -- memory -----------------------------------------------------------------------------------------------------------

LARGE = """
    import gzip, resource, sys, tempfile
    from streams.sources.files import pieces
    line = b"2 123456789010 eni-1235b8ca123456789 10.0.0.1 10.0.0.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
    member = gzip.compress((line + {end!r}) * 100_000)
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(60):
            file.write(member)
        file.flush()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lines = sum(piece.lines.count(b"\\n") + 1 for piece in pieces([file.name]) if not piece.error)
        print(lines, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("end", "count"), [(b"\n", 6_000_000), (b" ", 0)], ids=["lines", "no line end"])
def test_a_file_of_700_megabytes_costs_a_few(end: bytes, count: int) -> None:
    script = textwrap.dedent(LARGE).format(end=end)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    lines, grown = map(int, done.stdout.split())

    assert lines == count
    assert grown < 60
