"""The programs and the notebook in `examples/` run, each in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

EXAMPLES = ROOT / "examples"

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def environment() -> dict[str, str]:
    """In which the examples find the package that is tested."""
    return {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("program", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_a_program_ends_with_a_verdict(tmp_path, program):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / program), str(tmp_path / "results" / "here")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "%" in done.stdout
    assert (tmp_path / "results" / "here" / "finals.json").exists()
    assert "Traceback" not in done.stderr


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kernel(tmp_path, monkeypatch)
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="tested", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output["text"] for output in shown if output.output_type == "stream")
    pages = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert "teacher resnet20 (3 epochs)" in printed  # progress
    assert any("<table>" in page and "resnet8" in page for page in pages)
    assert not [output for output in shown if output.output_type == "error"]


def kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of the Python that runs the tests, whatever others are installed for this user."""
    import json

    place = folder / "jupyter" / "kernels" / "tested"
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "tested", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))


def test_the_notebook_is_kept_without_outputs():
    import nbformat

    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
