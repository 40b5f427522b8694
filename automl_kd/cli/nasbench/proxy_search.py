"""What `automl-kd search` does with an experiment that has a `[proxy]` section: search formulas, print the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from automl_kd import storage
from automl_kd.config import Experiment
from automl_kd.console.screen import ProgressMode, output, watching

if TYPE_CHECKING:
    from automl_kd.experiment.context import Roots


def search_formulas(
    experiment: Experiment, roots: Roots, nasbench201: Path | None, command: str, progress: ProgressMode
) -> None:
    """Carry out the searches that are not on disk yet, write the report beside them, print it."""
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.nasbench.proxy_search.run import run_proxy_search  # noqa: PLC0415 - torch is slow to import
    from automl_kd.nasbench.proxy_search.sentences import ranking, searches, write_sentences  # noqa: PLC0415

    with watching(progress) as screen:
        found, written = run_proxy_search(experiment, roots, screen, path=nasbench201, command=command)
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
