"""`automl-kd nasbench search`: searches a table of measured architectures, without training."""

from __future__ import annotations

from automl_kd import storage
from automl_kd.cli.nasbench.options import ExperimentFile, TablePath, read_table_experiment
from automl_kd.console.options import Out, Overrides, command_line, roots
from automl_kd.console.screen import ProgressMode, ProgressOption, output, watching

LEADING_TABLES = 2
"""How many budgets of trials fit a terminal, the largest ones; the files have all."""


def search_table(
    experiment: ExperimentFile,
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    nasbench201: TablePath = None,
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    r"""Search a table of measured architectures without training, with many seeds of each sampler.

    FILE has a [\[table.tasks]] section. The same command continues an interrupted search.

    [bold]automl-kd nasbench search benchmarks/nasbench201_search.toml --nasbench201 nasbench201[/bold]
    """
    described = read_table_experiment(experiment, overrides)
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.nasbench.table_search.page import write_tabular_report  # noqa: PLC0415
    from automl_kd.nasbench.table_search.record import read_tabular_record  # noqa: PLC0415
    from automl_kd.nasbench.table_search.run import run_table  # noqa: PLC0415 - torch is slow to import
    from automl_kd.nasbench.table_search.sentences import write_tabular_sentences  # noqa: PLC0415
    from automl_kd.nasbench.table_search.sheets import task_regret_sheet, training_free_sheet  # noqa: PLC0415

    with watching(progress) as screen:
        record = read_tabular_record(run_table(described, roots(out, "data"), screen, path=nasbench201))
        written = write_tabular_report(record, record.folder, command_line())
    console = output()
    for task in record.facts["tasks"]:
        after = [f"after {mark}" for mark in record.facts["compare"][-LEADING_TABLES:]]
        print_sheet(
            console,
            f"{task['name']}: regret on test after trainings, points",
            task_regret_sheet(record, task),
            ("search", *after),
        )
        if len(record.training_free):
            print_sheet(console, f"{task['name']}: led by scores", training_free_sheet(record, task))
    for line in write_tabular_sentences(record):
        console.print(line, highlight=False, markup=False)
    for path in written:
        console.print(f"written to {storage.name_addresses(str(path))}", highlight=False, markup=False, soft_wrap=True)
