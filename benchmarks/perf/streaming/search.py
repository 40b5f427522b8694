"""A real search whose students differ threefold in step time: who decodes, how often, and what it costs.

Run it from the project's root: `python -m benchmarks.perf.streaming.search FOLDER [--images 400] [--rounds 3]`.

Four students of one space, two at once, ASHA, random crops of the images in FOLDER: so trials begin at different times
and drift apart. Three loaders take turns: each trial decodes for itself ("private"), one process decodes for all
("shared"), and the same with the views of epochs kept on disk ("kept"). Printed are images decoded for each image that
was delivered to the search's trials, and seconds by the clock of the whole run, its teacher and its final included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

import automl_kd
from automl_kd.models.resnet import ResNet
from automl_kd.space import Choice, InputShape, Parameter, SearchSpace, Values
from automl_kd.spec import LoaderOptions

SEARCH = Path(__file__).with_suffix(".toml")

LOADERS: Mapping[str, LoaderOptions] = {
    "private": LoaderOptions(shared=False),
    "shared": LoaderOptions(),
    "kept": LoaderOptions(cache_gb=20.0),
}


def build(values: Values, shape: InputShape) -> nn.Module:
    width = int(values["width"])
    return ResNet(shape, [1, 1, 1], [width, width, 2 * width, 4 * width])


SPACE = SearchSpace(
    name="widths",
    source="this benchmark",
    parameters={"width": Parameter(Choice((8, 12, 16, 20)))},
    build=build,
    default={"width": 8},
    describe=lambda values: f"width {values['width']}",
)


def one_run(settings: Mapping[str, Any], loader: LoaderOptions) -> tuple[float, float]:
    """Images decoded for each that was delivered to a trial of the search, and seconds of the run."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        experiment = automl_kd.load_experiment(SEARCH, {**settings, "loader": asdict(loader)})
        result = experiment.run(Path(folder) / "results", data_root=Path(folder) / "data", progress="none")
        seconds = time.monotonic() - begun
        rows = result.rows[result.rows["trial_kind"] == "search"]
    return float(rows["images_decoded"].sum() / rows["images_delivered"].sum()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="class folders of images")
    parser.add_argument("--images", type=int, default=400, help="to train on (default: 400)")
    parser.add_argument("--epochs", type=int, default=6, help="of a whole trial (default: 6)")
    parser.add_argument("--size", type=int, default=64, help="height and width (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    options = parser.parse_args()
    settings = {
        "data.name": f"folder:{options.folder.absolute()}",
        "data.resolution": options.size,
        "data.train_images": options.images,
        "recipe.epochs": options.epochs,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in LOADERS}
    for number in range(options.rounds):
        for name in LOADERS if number % 2 else reversed([*LOADERS]):
            found[name].append(one_run(settings, LOADERS[name]))
            print(
                f"{name}: {found[name][-1][0]:.3f} decoded for each delivered, {found[name][-1][1]:.0f} s", flush=True
            )
    print("| loader | decoded for each delivered, median | seconds, median | over private |\n|---|---|---|---|")
    for name, runs in found.items():
        decoded, seconds = (statistics.median(values) for values in zip(*runs, strict=True))
        shares = [mine[1] / other[1] for mine, other in zip(runs, found["private"], strict=True)]
        print(f"| {name} | {decoded:.3f} | {seconds:.0f} | {statistics.median(shares):.3f} |")


if __name__ == "__main__":
    main()
