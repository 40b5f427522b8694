"""What `automl-kd search` does with an experiment that has a `[table]` section: search the table, print the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from automl_kd import storage
from automl_kd.config import Experiment
from automl_kd.console.screen import Mode, output, watching

if TYPE_CHECKING:
    from automl_kd.experiment.context import Roots

LEADING = 2
"""Numbers of trainings, the largest ones, whose regrets fit a terminal; the files have them all."""


def search_table(experiment: Experiment, roots: Roots, nasbench201: Path | None, command: str, progress: Mode) -> None:
    """Carry out the searches that are not on disk yet, write the report beside them, print it."""
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.nasbench.tabular.page import write_report  # noqa: PLC0415
    from automl_kd.nasbench.tabular.record import read_record  # noqa: PLC0415
    from automl_kd.nasbench.tabular.run import run_table  # noqa: PLC0415 - torch is slow to import
    from automl_kd.nasbench.tabular.sentences import sentences  # noqa: PLC0415
    from automl_kd.nasbench.tabular.table import regret_sheet, untrained_sheet  # noqa: PLC0415

    with watching(progress) as screen:
        record = read_record(run_table(experiment, roots, screen, path=nasbench201))
        written = write_report(record, record.folder, command)
    console = output()
    for task in record.facts["tasks"]:
        after = [f"after {mark}" for mark in record.facts["compare"][-LEADING:]]
        print_sheet(
            console,
            f"{task['name']}: regret on test after trainings, points",
            regret_sheet(record, task),
            ("search", *after),
        )
        if len(record.untrained):
            print_sheet(console, f"{task['name']}: led by scores", untrained_sheet(record, task))
    for line in sentences(record):
        console.print(line, highlight=False, markup=False)
    for path in written:
        console.print(f"written to {storage.named(str(path))}", highlight=False, markup=False, soft_wrap=True)
