"""Results on disk and for the eye: rows and curves in Parquet, leaderboards, the truth table, one page.

The only room that imports pyarrow. `automl_kd.results.page` is imported on its own, as it brings matplotlib along.
"""

from automl_kd.results.row import Point, Row
from automl_kd.results.table import Results, ResultTable, read

__all__ = ["Point", "ResultTable", "Results", "Row", "read"]
