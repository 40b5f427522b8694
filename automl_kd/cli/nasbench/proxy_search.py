"""`automl-kd nasbench proxy-search`: searches formulas of training-free statistics."""

from __future__ import annotations

from automl_kd import storage
from automl_kd.cli.nasbench.options import ExperimentFile, TablePath, read_proxy_experiment
from automl_kd.console.options import Out, Overrides, command_line, roots
from automl_kd.console.screen import ProgressMode, ProgressOption, output, watching


def search_formulas(
    experiment: ExperimentFile,
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    nasbench201: TablePath = None,
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    r"""Search a proxy: a formula of scores that ranks measured architectures as their accuracies do.

    FILE has a \[proxy] section. The same command continues an interrupted search.

    [bold]automl-kd nasbench proxy-search benchmarks/nasbench201_proxy.toml --nasbench201 nasbench201[/bold]
    """
    described = read_proxy_experiment(experiment, overrides)
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.nasbench.proxy_search.run import run_proxy_search  # noqa: PLC0415 - torch is slow to import
    from automl_kd.nasbench.proxy_search.sentences import ranking, searches, write_sentences  # noqa: PLC0415

    with watching(progress) as screen:
        found, written = run_proxy_search(
            described, roots(out, "data"), screen, path=nasbench201, command=command_line()
        )
    console = output()
    for family, rows in found.tables.items():
        sheet = ranking(rows, "kendall")
        shown = [column.name for column in sheet.columns if column.name != "formula"]
        print_sheet(console, f"{family}: Kendall with test accuracy", sheet, shown)
    print_sheet(console, "searches", searches(found))
    for line in write_sentences(found):
        console.print(line, highlight=False, markup=False)
    for path in written:
        console.print(f"written to {storage.name_addresses(str(path))}", highlight=False, markup=False, soft_wrap=True)
