"""Given a teacher and a budget, find the student and the way of teaching it, and prove that it was worth it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from automl_kd.results.store.table import Results

__all__ = ["load_student", "read_results"]


def read_results(path: Path | str, columns: Sequence[str] | None = None) -> Results:
    """Rows and learning curves as pandas frames: `rows, curves = automl_kd.read_results("results")`.

    `path`: the folder of one experiment, or a root that holds several; also "s3://bucket/prefix" or
    "gs://bucket/prefix". `columns`: only these of the rows, which is quicker where there are very many. `ResultError`
    if there are none.
    """
    from automl_kd.results.store import table  # noqa: PLC0415 - importing the package stays quick

    return table.read_results(path, columns)


def load_student(folder: Path | str, *, best: bool = False) -> nn.Module:
    """The trained student in `trials/<key>` of an experiment; see `methods.model_card.load_trained_student`."""
    from automl_kd.methods import model_card as handover  # noqa: PLC0415 - importing the package stays quick

    return handover.load_trained_student(folder, best=best)
