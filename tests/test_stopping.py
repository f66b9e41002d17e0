"""A process that began to end is over in bounded time, whatever hangs in it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kafka.process import ROOT

HANGS = """
import asyncio, threading
from streams.stopping import Ending, leave

async def main():
    ending = Ending({seconds})
    ending.listen()
    threading.Thread(target=threading.Event().wait).start()
    print("runs", flush=True)
    await ending.asked.wait()
    print("asked", flush=True)
    {then}

asyncio.run(main())
"""
BLOCKED = "threading.Event().wait()"


@contextmanager
def hanging(seconds: float, then: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a thread that never ends; `then`: what it does once it is asked to end."""
    script = HANGS.format(seconds=seconds, then=then)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "runs\n"
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Exit code and last words of a process that ends within `seconds`."""
    said = process.communicate(timeout=seconds)[1]
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_hangs_is_cut_off_at_the_deadline_with_one_line(number: signal.Signals) -> None:
    with hanging(1.0, BLOCKED) as process:
        began = time.monotonic()
        process.send_signal(number)
        code, said = ended(process, 10)

    assert (code, said) == (1, "vpcflow: not stopped within 1 s: cut off; what was not saved is read again\n")
    assert time.monotonic() - began >= 1


def test_the_second_signal_ends_at_once() -> None:
    with hanging(60.0, BLOCKED) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        code, said = ended(process, 10)

    assert (code, said) == (1, "vpcflow: SIGTERM came again: ended at once; what was not saved is read again\n")


@pytest.mark.parametrize("code", [0, 1])
def test_a_process_that_is_done_does_not_wait_for_its_threads(code: int) -> None:
    with hanging(60.0, f"leave({code})") as process:
        process.send_signal(signal.SIGTERM)

        assert ended(process, 10) == (code, "")
