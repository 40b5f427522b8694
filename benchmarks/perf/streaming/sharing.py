"""Readers that start together: batches per second of all of them with one decoding process, and with one each.

Run it from the project's root: `python -m benchmarks.perf.streaming.sharing [FOLDER_OR_PARQUET] [--rounds 3]`.

Each reader is a process of its own and takes the same random crops of 224 pixels as bytes in memory; nothing trains, so
decoding is what limits them. Every decoding process has a thread for each core. Readers begin at one signal, and what
was decoded before it, and the eight batches that are decoded ahead, are read before the clock starts. Time is that of
the clock, from the first reader's begin to the last one's end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import torch

from automl_kd.data.stream.ring import BATCHES_AHEAD
from benchmarks.perf.alternation import quartiles
from benchmarks.perf.streaming.pictures import encoded_pictures, write_classes
from benchmarks.perf.streaming.readers import CROPS, batches_of, make_reader

LEAST = {2: 1.8, 4: 3.2}
"""How many times the batches per second of private decoding, by readers."""
MOST_DECODED = 1.05


class Shared(NamedTuple):
    """Batches per second of all readers; images decoded for each that was delivered, since they were started."""

    rate: float
    decoded: float


def read_batches(files: list[Path], batches: int, threads: int, *, shared: bool) -> None:
    """One of the readers: says when it is ready, begins when told, and prints begin, end and what was decoded."""
    torch.set_num_threads(1)
    with make_reader(files, CROPS, threads=threads, shared=shared) as reader:
        stream = batches_of(reader)
        next(stream)
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(BATCHES_AHEAD + 1):
            next(stream)
        begun = time.monotonic()
        for _ in range(batches):
            next(stream)
        ended, stats = time.monotonic(), reader.stats()
        print(json.dumps([begun, ended, stats.decoded, stats.delivered]), flush=True)


@contextmanager
def waiting(command: list[str], count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes, each of which has said that it is ready."""
    with tempfile.TemporaryDirectory() as alone:  # where no trial of others finds their decoding process
        environment, pipe = {**os.environ, "TMPDIR": alone}, subprocess.PIPE
        running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(count)]
        try:
            for one in running:
                if stream_of(one.stdout).readline() != "ready\n":
                    raise SystemExit(f"{' '.join(command)} did not start")
            yield running
        finally:
            for one in running:
                one.kill()
                one.communicate()


def stream_of(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def read_together(folder: Path, readers: int, batches: int, threads: int, *, shared: bool) -> Shared:
    command = [sys.executable, "-m", "benchmarks.perf.streaming.sharing", str(folder), "--batches", str(batches)]
    command += ["--threads", str(threads), "--reader", "shared" if shared else "private"]
    with waiting(command, readers) as running:
        for one in running:
            pipe = stream_of(one.stdin)
            pipe.write("begin\n")
            pipe.flush()
        found = [json.loads(stream_of(one.stdout).readline()) for one in running]
    begins, ends, decoded, delivered = zip(*found, strict=True)
    return Shared(readers * batches / (max(ends) - min(begins)), sum(decoded) / sum(delivered))


def compare(folder: Path, readers: int, *, batches: int, threads: int, rounds: int) -> None:
    ratios, decoded = [], []
    for number in range(rounds):
        order = (True, False) if number % 2 else (False, True)
        found = {shared: read_together(folder, readers, batches, threads, shared=shared) for shared in order}
        ratios.append(found[True].rate / found[False].rate)
        decoded.append(found[True].decoded)
        print(
            f"{readers} readers: {found[True].rate:.1f} batches per second shared, {found[False].rate:.1f} private",
            flush=True,
        )
    low, middle, high = quartiles(ratios * 2)
    print(
        f"{readers} readers: shared over private {middle:.2f} ({low:.2f} to {high:.2f}, at least {LEAST[readers]}), "
        f"{max(decoded):.3f} images decoded for each delivered (at most {MOST_DECODED / readers:.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("given", type=Path, nargs="?", help="images of full size (default: drawn ones)")
    parser.add_argument("--batches", type=int, default=40, help="of 32, by each reader (default: 40)")
    parser.add_argument("--files", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="that decode (default: all cores)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--reader", choices=("shared", "private"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        files = sorted(path.absolute() for path in options.given.rglob("*.jpg"))
        read_batches(files, options.batches, options.threads, shared=options.reader == "shared")
        return
    print(f"{options.threads} threads in each decoding process, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        write_classes(folder, encoded_pictures(options.given, 0), options.files, classes=1)
        for readers in LEAST:
            compare(folder, readers, batches=options.batches, threads=options.threads, rounds=options.rounds)


if __name__ == "__main__":
    main()
