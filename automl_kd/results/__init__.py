"""Results: rows and curves in Parquet, statistics, leaderboards, the baseline comparison and one HTML page.

Import `automl_kd.results.report.page` by itself: it loads matplotlib.
"""

from automl_kd.results.store.row import Point, Row
from automl_kd.results.store.table import Results, ResultTable, read_results

__all__ = ["Point", "ResultTable", "Results", "Row", "read_results"]
