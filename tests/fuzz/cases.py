"""The cases: what lies in the working folder, and the command that reads it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast, get_type_hints

import numpy as np
import torch

from automl_kd.cli import QUICKSTART
from automl_kd.config import Experiment
from automl_kd.methods import METHODS
from automl_kd.nasbench.config import ProxyExperiment, TableExperiment
from automl_kd.results import Point, ResultTable
from automl_kd.results.store.scores import write_scores
from tests.fuzz.values import GARBAGE, NAMES, TEXTS, VALUES, damage
from tests.results.synthetic import row, score

Prepare = Callable[[Path, Random], list[str]]
"""Puts files into an empty folder and gives the arguments of `automl-kd`, which runs there."""

MINIMAL = 'name = "x"\nspace = "search_spaces.resnet:SPACE"\n'
KEYS = [f"{number:016d}" for number in range(3)]


@dataclass(frozen=True)
class Case:
    """`writes`: the command may leave files, as a report or a repair does."""

    kind: str
    number: int
    prepare: Prepare
    writes: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    def arguments(self, folder: Path) -> list[str]:
        return self.prepare(folder, Random(self.name))


def fields_of(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields of an experiment, sections and their members alike."""
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        yield prefix + item.name
        if dataclasses.is_dataclass(hints[item.name]):
            yield from fields_of(hints[item.name], f"{prefix}{item.name}.")


FIELDS = tuple(fields_of(Experiment))
TASK = 'table.tasks = [{ name = "a", choose = "cifar10_valid_acc_12", report = "cifar10_test_acc_200" }]\n'
FORMULAS = 'proxy.scores = "x"\nproxy.choose = "y"\nproxy.searches = [{ sampler = "random" }]\n'
FILES = (
    (MINIMAL, FIELDS),
    (MINIMAL + TASK, tuple(fields_of(TableExperiment))),
    (MINIMAL + FORMULAS, tuple(fields_of(ProxyExperiment))),
)
"""A file of each kind of experiment, and the fields that it may have."""


def toml_field(folder: Path, random: Random) -> list[str]:
    text, fields = random.choice(FILES)
    lines = [f"{random.choice(fields)} = {random.choice(VALUES)}" for _ in range(random.choice([1, 1, 1, 2]))]
    (folder / "x.toml").write_text(text + "\n".join(lines), encoding="utf-8")
    return ["show", "x.toml"]


def toml_bytes(folder: Path, random: Random) -> list[str]:
    content = QUICKSTART.read_bytes()
    for _ in range(random.choice([1, 1, 3])):
        content = damage(content, random)
    (folder / "x.toml").write_bytes(random.choice([b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"]) + content)
    return ["show", "x.toml"]


def override(_folder: Path, random: Random) -> list[str]:
    asked = random.choice(
        [random.choice(TEXTS), f"{random.choice(FIELDS)}={random.choice(VALUES)}", f"{random.choice(NAMES)}=1"]
    )
    return ["show", str(QUICKSTART), "--set", asked]


def path(folder: Path, random: Random) -> list[str]:
    name = random.choice(NAMES)
    (folder / "file").write_text("x", encoding="utf-8")
    os.mkfifo(folder / "pipe")
    name = random.choice([name, "pipe", "file", "file/x", "/dev/zero", "pipe/x"])
    return random.choice(
        [
            ["show", name],
            ["search", name],
            ["search", "--set", f"name={json.dumps(name)}", "--set", "data.name=digit"],
            ["search", "--set", f"teacher.checkpoint={json.dumps(name)}"],
            ["search", "--set", f"space={json.dumps(name)}"],
            ["search", "--set", f"space={json.dumps('model:subgraph:' + name)}"],
            ["search", "--set", "data.name=digit", "--out", name],
            ["leaderboard", name],
            ["doctor", name],
            ["score", name, "--proxies", "params"],
            ["nasbench", "proxy-benchmark", name],
            ["distill", "--student", name, "--data", "digit"],
        ]
    )


def dataset(folder: Path, random: Random) -> list[str]:
    form = random.choice(["folder:", "arrays:", "", "tests.tiny:", "math:"])
    made = random.choice(["nothing", "garbage", "npz", "images", "pipe"])
    (folder / "set").mkdir()
    if made == "garbage":
        (folder / "set" / "x.npz").write_bytes(random.choice(GARBAGE))
    elif made == "pipe":
        os.mkfifo(folder / "set" / "x.npz")
    elif made == "npz":
        np.savez(folder / "set" / "x.npz", **arrays(random))
    elif made == "images":
        for split in random.choice([("a", "b"), ("train/a", "train/b", "test/a"), ("a",)]):
            (folder / "set" / split).mkdir(parents=True)
            (folder / "set" / split / random.choice(["1.png", "1.jpg", "x", ".png"])).write_bytes(
                random.choice(GARBAGE)
            )
    name = form + random.choice(["set", "set/x.npz", "set/x.npz", *NAMES])
    return ["search", "--set", f"data.name={json.dumps(name)}", "--set", f"data.resolution={random.choice([0, 8, -1])}"]


def arrays(random: Random) -> Mapping[str, Any]:
    """Arrays that no data set consists of, or hardly."""
    shape = random.choice([(20, 8, 8), (20, 8, 8, 3), (20,), (0, 8, 8), (), (20, 3, 8, 8), (20, 8)])
    kind = random.choice(["uint8", "float64", "int64", "bool", "<U3", "complex64", "uint16"])
    images = np.zeros(shape, dtype=kind)
    labels = random.choice([np.arange(20) % 2, np.zeros(20), np.full(20, -1), np.arange(19), np.array(["a"] * 20)])
    found = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    return {name: found[name] for name in random.sample(list(found), random.choice([1, 3, 4, 4, 4]))}


def checkpoint(folder: Path, random: Random) -> list[str]:
    file = folder / "teacher.pt"
    made = random.choice(["garbage", "damaged", "other", "other"])
    tensor = torch.zeros(2)
    plain: list[object] = [{}, [], None, 3, "x", {"a": 1}, {"model": {}}, {"state_dict": None}, {"model": {"a": 2}}]
    tensors = [{1: tensor}, tensor, {"conv1.weight": tensor}, {"module.": tensor}, {"": tensor}]
    torch.save(random.choice([*plain, *tensors, {"model": {"state_dict": {"a": tensor}}}]), file)
    if made == "garbage":
        file.write_bytes(random.choice(GARBAGE))
    elif made == "damaged":
        file.write_bytes(damage(file.read_bytes(), random))
    return ["search", "--set", "teacher.model=resnet8", "--set", "teacher.checkpoint=teacher.pt"]


def option(_folder: Path, random: Random) -> list[str]:
    """Of a method; the misspelt data set ends those that pass."""
    method = random.choice(list(METHODS))
    names = [item.name for item in dataclasses.fields(cast("type[Any]", METHODS[method]))] or ["x"]
    given = f"options.{random.choice([*names, 'x'])}={random.choice(VALUES)}"
    return ["search", "--set", f"method={method}", "--set", given, "--set", "data.name=digit"]


def reference(folder: Path, random: Random) -> list[str]:
    """A space of somebody's own, in a file beside the experiment."""
    body = random.choice(
        [
            "SPACE = 3",
            "raise ValueError('no')",
            "raise RuntimeError('two\\nlines')",
            "import nowhere_at_all",
            "def",
            "SPACE = made(Choice(((1, 2), (3,))))",
            "SPACE = made(Choice(()))",
            "SPACE = made(FloatRange(0.0, float('inf')))",
            "SPACE = made(Choice((1,)))",
            "SPACE = made(Choice((2,)))",
            "SPACE = made(Choice((1,)), build=lambda values, shape: 'no network')",
            "SPACE = made(Choice((1,)), describe=lambda values: values['nothing'])",
        ]
    )
    head = (
        "from automl_kd.space import *\nfrom torch import nn\n"
        "def broken(values, shape): raise LookupError('built by hand')\n"
        "def made(domain, build=broken, describe=None):\n"
        "    parameters = {'a': Parameter(domain)}\n"
        "    return SearchSpace(\n"
        "        name='x', source='', parameters=parameters, build=build, default={'a': 1}, describe=describe\n"
        "    )\n"
    )
    module = f"fuzz_space_{random.randrange(10**9)}"
    (folder / f"{module}.py").write_text(head + body, encoding="utf-8")
    name = random.choice([f"{module}:SPACE", f"{module}:SPACE", f"{module}:nn", f"{module}:", f"{module}.x:SPACE"])
    (folder / "x.toml").write_text(f'name = "x"\nspace = "{name}"\n', encoding="utf-8")
    return ["search", "x.toml", "--set", "search.trials=2"]


def sound_folder(root: Path) -> Path:
    """The results of a search with a teacher, as the doctor likes them."""
    folder = root / "results" / "tiny"
    table = ResultTable(folder)
    for number, key in enumerate(KEYS):
        table.append(row(key=key, proposal=number), [Point(epoch=1, val_accuracy=0.5)])
        trial = folder / "trials" / key
        trial.mkdir(parents=True)
        for name in ("student.pt", "student_best.pt", "checkpoint.pt"):
            torch.save({"weight": torch.arange(5.0)}, trial / name)
        (trial / "student.json").write_text("{}", encoding="utf-8")
    (folder / "proposals.jsonl").write_text('{"depth": 1}\n{"depth": 2}\n{"depth": 3}\n', encoding="utf-8")
    (folder / "experiment.json").write_text('{"name": "tiny"}', encoding="utf-8")
    (folder / "finals.json").write_text('{"final": []}', encoding="utf-8")
    (folder / "lock").touch()
    write_scores(folder, [score("naswot", 0, 1.0), score("naswot", 1, 2.0)])
    return folder


def results(command: list[str]) -> Prepare:
    def prepare(folder: Path, random: Random) -> list[str]:
        files = sorted(one for one in sound_folder(folder).rglob("*") if one.is_file())
        for file in random.sample(files, random.choice([1, 1, 2])):
            spoil(file, random)
        return [command[0], random.choice(["results/tiny", "results"]), *command[1:]]

    return prepare


def spoil(file: Path, random: Random) -> None:
    """Damage a file, or put something that is no file in its place."""
    content, how = file.read_bytes(), random.choice(["damage", "damage", "damage", "remove", "pipe", "folder", "link"])
    file.unlink()
    if how == "damage":
        file.write_bytes(damage(content, random))
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()
    elif how == "link":
        file.symlink_to(random.choice(["nowhere", "/dev/zero", file.name, ".."]))


def experiment_of_results(folder: Path, random: Random) -> list[str]:
    """A search that finds its folder in disorder."""
    made = folder / "results" / "quickstart"
    shutil.copytree(sound_folder(folder), made)
    file = random.choice([made / name for name in ("experiment.json", "finals.json", "proposals.jsonl", "lock")])
    spoil(file, random)
    return ["search"]


KINDS: tuple[tuple[str, int, Prepare, bool], ...] = (
    ("toml-field", 130, toml_field, False),
    ("toml-bytes", 60, toml_bytes, False),
    ("override", 80, override, False),
    ("path", 90, path, False),
    ("dataset", 50, dataset, False),
    ("checkpoint", 40, checkpoint, False),
    ("option", 50, option, False),
    ("reference", 20, reference, False),
    ("doctor", 40, results(["doctor"]), False),
    ("repair", 40, results(["doctor", "--repair"]), True),
    ("leaderboard", 25, results(["leaderboard"]), True),
    ("continued", 20, experiment_of_results, False),
)

CASES = tuple(Case(kind, number, prepare, writes) for kind, count, prepare, writes in KINDS for number in range(count))
"""More than 600. Each is made from its name alone, so one that fails is made again by it."""
