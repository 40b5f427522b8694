"""A search begun on one kind of processor goes on on another: environment variables choose the kernels of each."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from automl_kd.config import SearchSection, to_record
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.search import Searching
from automl_kd.results.store.folder import open_folder
from automl_kd.training import loop
from tests import ROOT, tiny
from tests.experiment.session import Broken, carry_through

TRIALS, EPOCHS = 4, 3

OLD = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
NEW = {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}

PROGRAM = "import sys; from {module} import sit; sit(sys.argv[1], int(sys.argv[2]))"


class SearchSession(Searching):
    """Broken off in the middle of a trial, when `left` epochs were trained; a negative number is never reached."""

    left = -1

    def on_epoch(self, *news) -> None:
        super().on_epoch(*news)
        self.left -= 1
        if not self.left:
            raise Broken


def opened(root: Path) -> ExperimentContext:
    search = SearchSection(
        sampler="tpe", options={"startup": 2}, trials=TRIALS, scheduler="asha", proxy_filter=("naswot",), pool=2
    )
    plain = tiny.experiment(method="kd", search=dataclasses.replace(search, probe_images=4))
    context = prepare_experiment(plain, Roots(results=root / "results", data=root), Silent())
    open_folder(context.folder, to_record(context.experiment))
    return context


def sit(root: str, left: int) -> None:
    """In a process of its own."""
    loop.SAVE_SECONDS = 0.0
    context = opened(Path(root))
    session = SearchSession(context)
    session.left = left
    try:
        carry_through(session)
    except Broken:
        assert left > 0


def on(processor: dict[str, str], root: Path, left: int) -> pd.DataFrame:
    """The rows after a sitting on such a processor."""
    others = {name: value for name, value in os.environ.items() if name not in {**OLD, **NEW}}
    given = [sys.executable, "-c", PROGRAM.format(module=__name__), str(root), str(left)]
    subprocess.run(given, cwd=ROOT, env={**others, **processor}, check=True)
    return opened(root).table.read().sort_values("proposal").reset_index(drop=True)


@pytest.mark.slow
def test_begun_on_one_kind_of_processor_it_goes_on_on_another(tmp_path):
    context = opened(tmp_path)
    torch.manual_seed(11)
    tiny.leave_teacher(context)
    before = on(OLD, tmp_path, EPOCHS + 1)  # the second trial has one epoch
    assert list(before["proposal"]) == [0]
    proposals = (context.folder / "proposals.jsonl").read_text(encoding="utf-8")
    after = on(NEW, tmp_path, -1)
    assert list(after["proposal"]) == list(range(TRIALS))
    assert set(after["status"]) == {"complete"}
    pd.testing.assert_frame_equal(after.iloc[:1], before)
    assert (context.folder / "proposals.jsonl").read_text(encoding="utf-8").startswith(proposals)
    curves = context.table.curves()
    assert list(curves.groupby("key", observed=True).size()) == [EPOCHS] * TRIALS
    # each kind has asked the teacher itself: its last bits differ
    assert len(list(context.teachers.glob("*/bank/*/about.json"))) == 2
