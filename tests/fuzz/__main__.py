"""`make fuzz`: atheris on each target in turn, from the corpus of the repository. It ends with 1 at the first finding.

What the fuzzers learn stays in .fuzz/NAME for the next run; an input that broke a target is in .fuzz/found. Replay one:
`python -m tests.fuzz --replay FILE body`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
LEARNED = HERE.parents[1] / ".fuzz"
FOUND = LEARNED / "found"
TARGETS = ("decoder", "parser", "body")

_SLOWEST_SECONDS = 10
_LARGEST_MIB = 2048
_LONGEST_INPUT = 4096

Target = Callable[[bytes], None]


def target(name: str) -> Target:
    """The function that a target's file holds."""
    found: Target = importlib.import_module(f"tests.fuzz.{name}").target
    return found


def main() -> None:
    """Read the command line and run."""
    reader = argparse.ArgumentParser(prog="python -m tests.fuzz")
    reader.add_argument("--seconds", type=int, default=60, help="for each target")
    reader.add_argument("--replay", type=Path, metavar="FILE", help="give the targets this one input")
    reader.add_argument("--alone", metavar="NAME", help=argparse.SUPPRESS)
    reader.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    told = reader.parse_args()
    names = told.targets or TARGETS
    if told.alone:
        _fuzz(told.alone, told.seconds)
    elif told.replay:
        for name in names:
            target(name)(told.replay.read_bytes())
    else:
        sys.exit(_each(names, told.seconds))


def _each(names: Sequence[str], seconds: int) -> int:
    """Fuzz one after the other, each in a process of its own: libFuzzer ends the process that it runs in."""
    FOUND.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "POLARS_MAX_THREADS": "1"}
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", "--alone", name, "--seconds", str(seconds)]
        code = subprocess.run(command, env=environ, check=False).returncode
        if code:
            return code
    return 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris  # noqa: PLC0415 - in a dependency group of its own: only the fuzzing itself needs it

    with atheris.instrument_imports(include=["streams"]):
        one = target(name)
    learned = LEARNED / name
    learned.mkdir(parents=True, exist_ok=True)
    words = HERE / "words.dict"
    flags = {
        "max_total_time": seconds, "timeout": _SLOWEST_SECONDS, "rss_limit_mb": _LARGEST_MIB,
        "max_len": _LONGEST_INPUT, "dict": words, "artifact_prefix": f"{FOUND}/{name}-",
    }  # fmt: skip
    options = [f"-{key}={value}" for key, value in flags.items()]
    atheris.Setup([sys.argv[0], *options, str(learned), str(CORPUS / name)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
