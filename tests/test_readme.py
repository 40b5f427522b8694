"""What the README shows works: its Python is run, its TOML is read, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automl_kd.cli import app
from automl_kd.config import loads
from automl_kd.models import build
from automl_kd.proxies.base import Entry, make_probe
from automl_kd.proxies.score import score
from automl_kd.space import SearchSpace, TaskShape, sample

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_experiment_is_read():
    (text,) = blocks("toml")
    assert loads(text).name == "mine"


def test_the_space_and_the_proxy_of_the_recipes_work():
    shape = TaskShape(1, 8, 8, 3)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        if "SPACE =" in block or "Entry(" in block:
            exec(block, names)
    space, entry = names["SPACE"], names["DEPTH"]
    assert isinstance(space, SearchSpace)
    assert isinstance(entry, Entry)
    architecture = sample(space, np.random.default_rng(0))
    student = build(space, architecture, shape, seed=0)
    probe = make_probe(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), shape)
    assert entry.proxy(student, probe) == architecture.as_dict()["depth"]
    (scored,) = score(space, [architecture], ["params"], [probe], seed=0)
    assert not scored.error


def test_every_command_exists():
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    shown = set(re.findall(r"automl-kd ([a-z]+)", README))
    assert shown == known
