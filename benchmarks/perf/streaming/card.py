"""What a machine with a CUDA card makes of streamed images: one script of at most eight minutes, without network.

Run it from the project's root: `python -m benchmarks.perf.streaming.card [FOLDER_OR_PARQUET] [--minutes 8]`.

- *rates*: images per second, by the clock, of training steps of ResNet-18 and EfficientNet-Lite0 (without timm,
  MobileNetV2) at 224 pixels in mixed precision: resident images, one and two trials that decode for themselves, two
  that share. Trials are processes of their own and start together; rates are of all.
- *copies*: a step on a batch that is on the card, the same step with a batch copied to it before, and the copy alone;
  and whether a copy from page-locked memory returns while the card is at work.
- *views*: whether the bytes of random crops are the same on the card, and how far normalised images differ.
- *tests*: those of data that need a card.

Its last line is all figures as JSON. Without a card it says so and runs itself with tiny sizes on the processor.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from automl_kd.data import Dataset, augmented_view, load_data
from automl_kd.data.streamed import loading
from automl_kd.spec import DataSpec, LoaderOptions, Recipe
from benchmarks.perf.streaming.pictures import encoded_pictures, write_classes
from benchmarks.perf.streaming.recipe_step import stepper
from benchmarks.perf.streaming.sharing import stream_of, waiting

RESIDENT, PRIVATE, SHARED = "resident", "private", "shared"
ARMS = ((RESIDENT, 1), (PRIVATE, 1), (PRIVATE, 2), (SHARED, 2))
CLASSES, WARM_STEPS = 10, 12
"""Steps before the clock starts: more than there are batches that are decoded ahead."""
TESTS = ("tests/data/test_views.py", "tests/data/augment")
BLOCKS, STEPS = 6, 10
"""Of timed steps; the first block warms."""

Figures = dict[str, float | str | bool]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`seconds`: of each measurement of a rate. `side`: the shorter one of drawn images."""

    device: str
    size: int
    batch: int
    files: int
    seconds: float
    side: int

    @property
    def recipe(self) -> Recipe:
        return Recipe(epochs=100_000, batch_size=self.batch, lr=0.01, augment="random-resized-crop", amp=True)


CARD = Scale(device="cuda", size=224, batch=128, files=3000, seconds=10.0, side=375)
TINY = Scale(device="cpu", size=32, batch=8, files=200, seconds=0.5, side=48)


class Work(NamedTuple):
    """A trial's images per second; images decoded for each that was delivered, 0 for resident ones."""

    rate: float
    decoded: float


def networks(scale: Scale) -> list[str]:
    if scale.device == "cpu":
        return ["resnet8"]
    small = "timm:tf_efficientnet_lite0" if importlib.util.find_spec("timm") else "torchvision:mobilenet_v2"
    return ["torchvision:resnet18", small]


def load_images(folder: Path, loader: str, scale: Scale) -> Dataset:
    """Kept decoded or indexed beside the folder, for all trials."""
    spec = DataSpec(
        name=f"folder:{folder}", resolution=scale.size, loading="resident" if loader == RESIDENT else "stream"
    )
    return load_data(spec, folder.parent / "root", LoaderOptions(shared=loader == SHARED))


def wait_for_device(scale: Scale) -> None:
    if scale.device == "cuda":
        torch.cuda.synchronize()


def train(folder: Path, network: str, loader: str, scale: Scale) -> None:
    """One trial: says when it is ready, begins when told, and prints its `Work`."""
    step = stepper(network, load_images(folder, loader, scale).to(scale.device), scale.recipe)
    step(0)
    wait_for_device(scale)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, WARM_STEPS):
        step(number)
    wait_for_device(scale)
    loading.take()
    begun, steps = time.monotonic(), 0
    while time.monotonic() < begun + scale.seconds:
        step(WARM_STEPS + steps)
        steps += 1
    wait_for_device(scale)
    rate, counts = steps * scale.batch / (time.monotonic() - begun), loading.take()
    print(json.dumps([rate, counts["images_decoded"] / counts["images_delivered"] if counts else 0.0]), flush=True)


def measure_rates(folder: Path, network: str, scale: Scale, deadline: float) -> Figures:
    found: Figures = {}
    for loader, trials in ARMS:
        name = f"{network}, {loader}, {trials} trial{'s' * (trials > 1)}"
        if time.monotonic() > deadline:
            print(f"{name}: left out, as there is no time")
            continue
        command = [sys.executable, "-m", "benchmarks.perf.streaming.card", str(folder), "--trial", loader]
        with waiting([*command, "--network", network, "--device", scale.device], trials) as running:
            for one in running:
                pipe = stream_of(one.stdin)
                pipe.write("begin\n")
                pipe.flush()
            works = [Work(*json.loads(stream_of(one.stdout).readline())) for one in running]
        rate, decoded = sum(one.rate for one in works), statistics.mean(one.decoded for one in works)
        print(f"{name}: {rate:.0f} images per second, {decoded:.3f} decoded for each delivered", flush=True)
        found |= {f"{name}: images per second": rate, f"{name}: decoded for each delivered": decoded}
    return found


def time_steps(act: Callable[[int], object], scale: Scale) -> float:
    """Milliseconds of a call, the device's work included: the median of blocks of calls."""
    times = []
    for block in range(BLOCKS):
        wait_for_device(scale)
        begun = time.monotonic()
        for number in range(STEPS):
            act(block * STEPS + number)
        wait_for_device(scale)
        times.append((time.monotonic() - begun) / STEPS * 1e3)
    return statistics.median(times[1:])


def measure_copies(network: str, dataset: Dataset, scale: Scale) -> Figures:
    """`dataset`: resident, on the device. The bare step includes the view of a batch that is there."""
    step = stepper(network, dataset, scale.recipe)
    shape = (scale.batch, 3, scale.size, scale.size)
    host = torch.zeros(shape, dtype=torch.uint8, pin_memory=scale.device == "cuda")

    def copy(_: int) -> torch.Tensor:
        return host.to(scale.device, non_blocking=True)

    def copy_and_step(number: int) -> object:
        copy(number)
        return step(number)

    bare, with_copy, alone = (time_steps(act, scale) for act in (step, copy_and_step, copy))
    print(f"{network}: step {bare:.2f} ms, with a copy before {with_copy:.2f} ms, copy alone {alone:.2f} ms")
    found: Figures = {f"{network}: step, ms": bare, f"{network}: step and copy, ms": with_copy}
    return {**found, f"{network}: copy, ms": alone}


def copies_return_early() -> bool:
    """Whether a copy from page-locked memory returns before the work that the card was given earlier is done."""
    matrix = torch.rand(4096, 4096, device="cuda")
    host = torch.zeros(CARD.batch, 3, CARD.size, CARD.size, dtype=torch.uint8, pin_memory=True)
    host.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    for _ in range(50):
        matrix = matrix @ matrix
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    done.record()
    host.to("cuda", non_blocking=True)
    return not done.query()  # type: ignore[no-untyped-call]


def compare_views(here: Dataset, scale: Scale) -> Figures:
    """`here`: streamed, on the processor."""
    there, recipe, rows = here.to(scale.device), scale.recipe, torch.arange(scale.batch)
    one, other = here.train.streamed, there.train.streamed
    assert one is not None
    assert other is not None
    plan, equal, apart = one.random(recipe.crop_scale, recipe.crop_ratio), True, 0.0
    for epoch in (1, 2):
        crops = [streamed.crops(rows, plan, seed=3, epoch=epoch) for streamed in (one, other)]
        equal &= torch.equal(crops[0], crops[1].cpu())
        views = [augmented_view(dataset, dataset.train, rows, recipe, seed=3, epoch=epoch) for dataset in (here, there)]
        apart = max(apart, float((views[0] - views[1].cpu()).abs().max()))
    print(f"random crops: bytes {'equal' if equal else 'DIFFER'}, normalised they differ by at most {apart:.1e}")
    return {"bytes of random crops equal": equal, "normalised images differ by": apart}


def run_tests(seconds: float) -> str:
    """The last line of pytest, or that there was no time for it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "-rs", *TESTS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        return "left out, as there is no time"
    if done.returncode:
        print(done.stdout)
    return (done.stdout.strip().splitlines() or ["pytest said nothing"])[-1]


def measure(given: Path | None, scale: Scale, minutes: float) -> Figures:
    begun = time.monotonic()
    found: Figures = {"device": torch.cuda.get_device_name() if scale.device == "cuda" else "cpu"}
    found["torch"] = torch.__version__
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        contents = encoded_pictures(given, scale.side if given is None else 0)
        write_classes(folder, contents, scale.files, CLASSES)
        found |= compare_views(load_images(folder, PRIVATE, scale), scale)
        if scale.device == "cuda":
            found["copies return early"] = copies_return_early()
            print(f"copies from page-locked memory return early: {found['copies return early']}", flush=True)
        for network in networks(scale):
            found |= measure_copies(network, load_images(folder, RESIDENT, scale).to(scale.device), scale)
        torch.cuda.empty_cache()
        for network in networks(scale):
            found |= measure_rates(folder, network, scale, begun + 60 * (minutes - 2))
    if scale.device == "cuda":
        found["tests"] = run_tests(begun + 60 * minutes - time.monotonic())
        print(f"tests: {found['tests']}")
    found["minutes"] = (time.monotonic() - begun) / 60
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("given", type=Path, nargs="?", help="images of full size (default: drawn ones)")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="(default: cuda if there is one)")
    parser.add_argument("--minutes", type=float, default=8.0, help="at most (default: 8)")
    parser.add_argument("--seconds", type=float, help="of each rate (default: 10, on the processor 0.5)")
    parser.add_argument("--trial", choices=(RESIDENT, PRIVATE, SHARED), help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, and there is no CUDA card here; leave it out, or give --device cpu")
    scale = CARD if device == "cuda" else TINY
    scale = replace(scale, seconds=options.seconds or scale.seconds)
    if device == "cpu":
        torch.set_num_threads(1)
    if options.trial:
        train(options.given, options.network, options.trial, scale)
        return
    if device == "cpu":
        print("card: not measured, as no CUDA card is used; its functions run with tiny sizes on the processor")
    print(json.dumps(measure(options.given, scale, options.minutes)))


if __name__ == "__main__":
    main()
