"""Memory of a trial on very many images above that of the same trial on 100 of them.

Run it from the project's root: `python -m benchmarks.perf.streaming.memory [FOLDER_OR_PARQUET] [--images 200000]`.

The images are small JPEGs, 100 kB apart in a sparse file as long as that of a set of large ones: a pack of 200,000 is
20 GB long and takes 0.8 GB of the disk. Each trial is a process of its own and trains for a part of an epoch. RssAnon
and RssShmem of it, and of the process that decodes for it, are looked at ten times a second. Batches of decoded images
lie in files of memory, which belong to no process; they are counted with the process that decodes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from automl_kd.data.encoded.encoded_set import EncodedSet
from automl_kd.data.encoded.packing import BYTES_FILE, save_pack
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.encoded.scan import ImageScan, sha256_of
from automl_kd.methods import run_trial
from automl_kd.models import build_model
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import (
    DataSpec,
    Recipe,
    TeacherCacheOptions,
    TeacherSpec,
    TrialPaths,
    TrialSpec,
    teacher_trial,
)
from benchmarks.perf.alternation import quartiles
from benchmarks.perf.standing import silent
from benchmarks.perf.streaming.pictures import encoded_pictures, numbered
from benchmarks.perf.streaming.processes import adopt_orphans, descendants, files_in_memory, memory_of

APART = 25 * 4096
"""Bytes from one image to the next, whole blocks of the disk, so that each image takes no more than one."""

SIDE, CLASSES, FEW = 32, 2, 100
BATCH, HELD_OUT = 32, 0.05
"""Images of a step; the fraction of all that is held out for validation, and as many for the test."""
MOST_ABOVE, MOST_HELPER = 300, 1024
"""MiB."""
LOOK_SECONDS = 0.1


@dataclass
class Peak:
    """MiB: of the trial, of the process that decodes for it, and of the batches that this holds besides."""

    trial: float = 0.0
    helper: float = 0.0

    def look(self, trial: int) -> None:
        self.trial = max(self.trial, memory_of(trial))
        others = [one for one in descendants(os.getpid()) if one != trial]
        helper = sum(memory_of(one) + files_in_memory(one, "automl_kd_batch") for one in others)
        self.helper = max(self.helper, helper)


def write_sparse_pack(out: Path, contents: list[bytes], count: int) -> None:
    out.mkdir()
    lengths, digests = np.zeros(count, np.int64), np.zeros((count, 32), np.uint8)
    with (out / BYTES_FILE).open("wb") as file:
        for number in range(count):
            content = numbered(contents[number % len(contents)], number)
            assert len(content) <= APART
            file.seek(number * APART)
            file.write(content)
            lengths[number], digests[number] = len(content), sha256_of(content)
        file.truncate(count * APART)
    numbers = np.arange(count)
    images = EncodedImages.of([Path(BYTES_FILE)], 0 * numbers, numbers * APART, lengths, numbers % CLASSES)
    names = tuple(map(str, range(CLASSES)))
    scan = ImageScan(digests, np.zeros(count, np.uint8))
    found = EncodedSet(images=images, counts={"training": count}, class_names=names, scan=scan)
    save_pack(out, found, {"stamp": "", "bytes": count * APART})


def train(pack: Path, method: str, steps: int, count: int) -> None:
    """The trial, in a folder beside the pack; of an epoch so many steps at most."""
    torch.set_num_threads(1)
    data = DataSpec(name=f"pack:{pack}", resolution=SIDE, loading="stream", validation=HELD_OUT, test=HELD_OUT)
    whole = max(1, int((1 - HELD_OUT) ** 2 * count) // BATCH)
    recipe = Recipe(epochs=1, batch_size=BATCH, augment="random-resized-crop", last_epoch=min(1.0, steps / whole))
    teacher = TeacherSpec(model="resnet8", recipe=recipe) if method == "kd" else None
    spec = TrialSpec(
        space="search_spaces.resnet_depth:SPACE",
        architecture=Architecture.of({"depth1": 1, "depth2": 1, "depth3": 1}),
        method=method,
        data=data,
        teacher=teacher,
        recipe=recipe,
        seed=0,
    )
    cache = TeacherCacheOptions(keep="logits" if teacher else "off")
    with tempfile.TemporaryDirectory(dir=pack.parent) as folder:
        root = Path(folder)
        paths = TrialPaths(trial=root / "trial", teachers=root / "teachers", data=root / "data", teacher_cache=cache)
        if teacher:
            network = build_model(teacher.model, InputShape(3, SIDE, SIDE, CLASSES))
            save_weights(network, paths.teachers / teacher_trial(teacher, data).key / "student.pt")
        run_trial(spec, silent, paths)


def watch(pack: Path, method: str, steps: int, count: int) -> Peak:
    command = [sys.executable, "-m", "benchmarks.perf.streaming.memory", "--trial", str(pack), "--method", method]
    command += ["--steps", str(steps), "--images", str(count)]
    found = Peak()
    with (
        tempfile.TemporaryDirectory() as alone,  # where no trial of others finds its decoding process
        subprocess.Popen(command, env={**os.environ, "TMPDIR": alone}) as trial,
    ):
        while trial.poll() is None:
            found.look(trial.pid)
            time.sleep(LOOK_SECONDS)
    if trial.returncode:
        raise SystemExit(f"the trial on {pack.name} ended with exit code {trial.returncode}")
    assert found.helper, "nothing was seen of the process that decodes"
    return found


def compare(given: Path | None, method: str, count: int, steps: int, rounds: int) -> None:
    adopt_orphans()
    contents = encoded_pictures(given, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        packs = {number: Path(folder) / f"pack-{number}" for number in (FEW, count)}
        for number, pack in packs.items():
            write_sparse_pack(pack, contents, number)
        blocks = (packs[count] / BYTES_FILE).stat().st_blocks * 512
        print(f"{count:,} images, {count * APART / 1e9:.1f} GB long, {blocks / 1e9:.2f} GB of the disk", flush=True)
        above, helpers = [], []
        for number in range(rounds):
            order = [FEW, count] if number % 2 else [count, FEW]
            found = {size: watch(packs[size], method, steps, size) for size in order}
            above.append(found[count].trial - found[FEW].trial)
            helpers.append(found[count].helper)
            for size, peak in sorted(found.items()):
                print(
                    f"{size:,} images: trial {peak.trial:.0f} MiB, decoding process {peak.helper:.0f} MiB", flush=True
                )
    for name, values, limit in (("trial, above 100", above, MOST_ABOVE), ("decoding process", helpers, MOST_HELPER)):
        low, middle, high = quartiles(values * 2)
        print(f"{name}: median {middle:.0f} MiB ({low:.0f} to {high:.0f}), limit {limit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "given", type=Path, nargs="?", help="images, which are reduced to 32 pixels (default: drawn ones)"
    )
    parser.add_argument("--images", type=int, default=200_000, help="(default: 200000)")
    parser.add_argument("--method", choices=("kd", "scratch"), default="kd", help="(default: kd)")
    parser.add_argument("--steps", type=int, default=300, help="of 32 images (default: 300)")
    parser.add_argument("--rounds", type=int, default=1, help="(default: 1)")
    parser.add_argument("--trial", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trial:
        train(options.trial, options.method, options.steps, options.images)
    else:
        compare(options.given, options.method, options.images, options.steps, options.rounds)


if __name__ == "__main__":
    main()
