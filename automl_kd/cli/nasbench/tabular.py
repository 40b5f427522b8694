"""What `automl-kd search` does with an experiment that has a `[table]` section: search the table, print the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from automl_kd import storage
from automl_kd.config import Experiment
from automl_kd.console.screen import ProgressMode, output, watching

if TYPE_CHECKING:
    from automl_kd.experiment.context import Roots

LEADING_TABLES = 2
"""Numbers of trainings, the largest ones, whose regrets fit a terminal; the files have them all."""


def search_table(
    experiment: Experiment, roots: Roots, nasbench201: Path | None, command: str, progress: ProgressMode
) -> None:
    """Carry out the searches that are not on disk yet, write the report beside them, print it."""
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.nasbench.tabular.page import write_tabular_report  # noqa: PLC0415
    from automl_kd.nasbench.tabular.record import read_tabular_record  # noqa: PLC0415
    from automl_kd.nasbench.tabular.run import run_table  # noqa: PLC0415 - torch is slow to import
    from automl_kd.nasbench.tabular.sentences import write_tabular_sentences  # noqa: PLC0415
    from automl_kd.nasbench.tabular.table import task_regret_sheet, untrained_sheet  # noqa: PLC0415

    with watching(progress) as screen:
        record = read_tabular_record(run_table(experiment, roots, screen, path=nasbench201))
        written = write_tabular_report(record, record.folder, command)
    console = output()
    for task in record.facts["tasks"]:
        after = [f"after {mark}" for mark in record.facts["compare"][-LEADING_TABLES:]]
        print_sheet(
            console,
            f"{task['name']}: regret on test after trainings, points",
            task_regret_sheet(record, task),
            ("search", *after),
        )
        if len(record.untrained):
            print_sheet(console, f"{task['name']}: led by scores", untrained_sheet(record, task))
    for line in write_tabular_sentences(record):
        console.print(line, highlight=False, markup=False)
    for path in written:
        console.print(f"written to {storage.name_addresses(str(path))}", highlight=False, markup=False, soft_wrap=True)
