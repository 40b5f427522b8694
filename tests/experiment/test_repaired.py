"""What the doctor sets aside, the same search makes again, to the last digit, and nothing else."""

from __future__ import annotations

import pytest

from automl_kd import experiment as stages
from automl_kd.experiment import Roots
from automl_kd.experiment.progress.events import Silent
from automl_kd.results.doctor.doctor import diagnose
from tests import tiny
from tests.faults.checks import differences, outcome

pytestmark = [pytest.mark.ray, pytest.mark.long]


def test_a_damaged_experiment_is_mended_and_made_whole_again(ray_session, tmp_path):
    roots = Roots(results=tmp_path / "results", data=tmp_path)
    context = stages.run_stages(tiny.experiment(), roots, Silent())
    whole, folder = outcome(context.folder), context.folder
    trained = context.table.read().set_index("role")
    lost = folder / "trials" / str(trained.loc["default-kd", "key"]) / "student.pt"
    (teacher,) = context.teachers.glob("*/student.pt")
    (part,) = (folder / "curves").glob("part-*.parquet")
    for path in (lost, teacher, part, folder / "finals.json", folder / "experiment.json"):
        path.write_bytes(path.read_bytes()[:-30])
    (folder / "proposals.jsonl").write_text('{"width": 1', encoding="utf-8")
    assert diagnose(roots.results).faults >= 5
    assert diagnose(roots.results, repair=True).faults == 0
    again = stages.run_stages(tiny.experiment(), roots, Silent())
    assert differences(outcome(again.folder), whole) == []
    assert diagnose(roots.results).faults == 0
