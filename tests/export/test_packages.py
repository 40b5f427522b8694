"""Without the packages of the extra, everything but ONNX works, and ONNX says what to install."""

from __future__ import annotations

import sys

import pytest

from automl_kd.errors import ExportError
from automl_kd.export import ExportOptions, export_student


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_what_is_missing_is_named(subject, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ExportError, match=rf"needs the package {missing}; install it by pip install 'automl-kd\[expor"):
        export_student(subject, tmp_path / "out", ExportOptions())
    assert list(tmp_path.iterdir()) == []


def test_a_program_needs_none(subject, tmp_path, monkeypatch):
    for missing in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, missing, None)
    assert (export_student(subject, tmp_path / "out", ExportOptions(onnx=False)) / "student.pt2").exists()
