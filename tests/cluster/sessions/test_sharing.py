"""A machine that does not see where results go is named before anything is trained."""

from __future__ import annotations

import pytest

from automl_kd.cluster.sessions.sharing import UNSEEN, first_complaint, require_shared, sight


def test_a_machine_sees_what_lies_where_it_is_told(tmp_path):
    (tmp_path / "here").touch()
    assert sight(str(tmp_path / "here")) == ""
    assert sight(str(tmp_path / "elsewhere")) == UNSEEN
    assert sight("ftp://bucket/here").startswith("ftp://bucket is no place for files")


def test_the_first_machine_with_a_reason_is_named(tmp_path):
    assert first_complaint({"10.0.0.1": "", "10.0.0.2": ""}, tmp_path) == ""
    said = first_complaint({"10.0.0.1": "", "10.0.0.2": UNSEEN, "10.0.0.3": "no"}, tmp_path)
    start = f"10.0.0.2, a machine of this cluster, cannot work for results in {tmp_path} (it does not see what"
    assert said.startswith(start)


@pytest.mark.ray
def test_one_machine_is_not_asked(ray_session, tmp_path):
    require_shared(tmp_path / "not made")
