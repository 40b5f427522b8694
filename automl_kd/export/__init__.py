"""Trained students as folders to hand on: weights, graphs, labels, preprocessing, and proof that the graphs agree.

May import `methods` and below. Exports need the packages of the extra `export`, which are imported when they are used.
"""

from automl_kd.export.experiment_file import write_differing
from automl_kd.export.folder import ExportOptions, export_student
from automl_kd.export.loading import is_exported, load_exported
from automl_kd.export.packages import require_export_packages
from automl_kd.export.student_input import StudentInput
from automl_kd.export.subject import ComparisonText, Subject, student_input_of
from automl_kd.export.text_input import TextInput
from automl_kd.export.trained import Int8Result, measure_int8

__all__ = [
    "ComparisonText",
    "ExportOptions",
    "Int8Result",
    "StudentInput",
    "Subject",
    "TextInput",
    "export_student",
    "is_exported",
    "load_exported",
    "measure_int8",
    "require_export_packages",
    "student_input_of",
    "write_differing",
]
