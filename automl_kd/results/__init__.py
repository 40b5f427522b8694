"""Results on disk and for the eye: rows and curves in Parquet, leaderboards, the baseline comparison, one page.

The only room that imports pyarrow. `automl_kd.results.report.page` is imported on its own: it brings matplotlib along.
"""

from automl_kd.results.store.row import Point, Row
from automl_kd.results.store.table import Results, ResultTable, read_results

__all__ = ["Point", "ResultTable", "Results", "Row", "read_results"]
