"""Trained students as folders to hand on: weights, graphs, labels, preprocessing, and proof that the graphs agree.

May import `methods` and below. Exports need the packages of the extra `export`, which are imported when they are used.
"""

from automl_kd.export.experiment_file import write_differing
from automl_kd.export.folder import ExportOptions, export_student
from automl_kd.export.loading import is_exported, load_exported
from automl_kd.export.student_input import StudentInput
from automl_kd.export.subject import ComparisonText, Subject

__all__ = [
    "ComparisonText",
    "ExportOptions",
    "StudentInput",
    "Subject",
    "export_student",
    "is_exported",
    "load_exported",
    "write_differing",
]
