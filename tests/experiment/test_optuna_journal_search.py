"""The journal of proposals: what was written is read, a torn last line is dropped, damage is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ResultError
from automl_kd.experiment.stages.search import Journal
from automl_kd.space import Architecture

POINTS = [Architecture.of({"width": 3}), Architecture.of({"kind": "wide", "rate": 0.25, "deep": True})]


@pytest.fixture
def written(tmp_path):
    journal = Journal.open(tmp_path / "folder" / "proposals.jsonl")
    for point in POINTS:
        journal.append(point)
    return journal.path


def test_what_was_proposed_is_read_again_in_order_with_its_types(written):
    again = Journal.open(written).proposals
    assert again == POINTS
    assert [point.key for point in again] == [point.key for point in POINTS]


def test_a_journal_not_yet_written_is_empty_and_makes_no_file(tmp_path):
    assert Journal.open(tmp_path / "none").proposals == []
    assert not list(tmp_path.iterdir())


@given(cut=st.integers(min_value=0, max_value=70))
def test_wherever_a_kill_cut_it_whole_lines_remain_and_it_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "proposals.jsonl"
    whole = b'{"width": 3}\n{"deep": true, "kind": "wide", "rate": 0.25}\n'
    path.write_bytes(whole[:cut])
    journal = Journal.open(path)
    assert journal.proposals == POINTS[: whole[:cut].count(b"\n")]
    journal.append(POINTS[0])
    assert Journal.open(path).proposals == journal.proposals


def test_a_torn_line_may_hold_anything(written):
    with written.open("ab") as file:
        file.write(b"\x00\xff\xfe")
    assert Journal.open(written).proposals == POINTS
    assert written.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("damage", [b"{width\n", b"\xff\xfe\n", b"7\n", b"[1, 2]\n", b"\n"])
def test_a_damaged_line_is_one_sentence_and_changes_nothing(written, damage):
    before = damage + written.read_bytes()
    written.write_bytes(before)
    with pytest.raises(
        ResultError, match=r"proposals\.jsonl is damaged \(.*\); 'automl-kd doctor .* --repair' repairs it"
    ):
        Journal.open(written)
    assert written.read_bytes() == before
