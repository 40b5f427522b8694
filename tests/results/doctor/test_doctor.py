"""The doctor: every kind of damage is found, said in a line, mended, and nothing that was measured is deleted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from automl_kd.api.objects import name_student
from automl_kd.errors import ResultError
from automl_kd.results import Point, ResultTable
from automl_kd.results.doctor.doctor import diagnose
from automl_kd.results.store.folder import lock
from automl_kd.results.store.scores import write_scores
from automl_kd.space import InputShape
from tests.conformance.sampling import slow_but
from tests.results.synthetic import row, score

KEYS = [f"{number:016d}" for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three complete trials of a search, a fourth that is unfinished, and a trained teacher beside them."""
    folder = tmp_path / "results" / "tiny"
    table = ResultTable(folder)
    for number, key in enumerate(KEYS[:3]):
        table.append(row(key=key, proposal=number), [Point(epoch=1, val_accuracy=0.5)])
    for key in KEYS:
        leave(folder / "trials" / key, "checkpoint.pt", *([] if key == KEYS[3] else ["student.pt", "student_best.pt"]))
    leave(folder.parent / "teachers" / "abcd", "checkpoint.pt", "student.pt", "student_best.pt")
    (folder / "proposals.jsonl").write_text("".join(f'{{"depth": {depth}}}\n' for depth in (1, 2, 3, 4)))
    (folder / "experiment.json").write_text('{"name": "tiny"}')
    (folder / "finals.json").write_text('{"final": []}')
    write_scores(folder, [score("naswot", 0, 1.0)])
    return folder


def leave(trial: Path, *names: str) -> None:
    trial.mkdir(parents=True)
    for name in names:
        torch.save({"weight": torch.arange(500.0)}, trial / name)
    if "student.pt" in names:
        (trial / "student.json").write_text("{}")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def cut_part(folder: Path) -> None:
    ResultTable(folder).fold()
    cut(next((folder / "rows").glob("part*")))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def change(folder: Path, kind: str, **values: object) -> None:
    """Other values in the file of the second trial."""
    path = folder / kind / "trial_kind=search" / f"{KEYS[1]}.parquet"
    with pq.ParquetFile(path) as file:
        table = file.read()
    for name, value in values.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array([value], table.schema.field(name).type))
    pq.write_table(table, path)


def flip(path: Path) -> None:
    """One bit in the middle, which only a check sum notices."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def contents(root: Path) -> set[bytes]:
    """Of all files that are moved and not written again."""
    kept = [path for path in root.rglob("*") if path.suffix in {".pt", ".json", ".jsonl"} and path.is_file()]
    return {path.read_bytes() for path in kept}


def sound(folder: Path) -> bool:
    """Nothing is said of it but that a trial was begun."""
    lines, faults = diagnose(folder)
    return faults == 0 and all("which were begun; the same search command continues them" in line for line in lines)


def test_a_sound_folder_has_nothing_to_be_said_of(folder):
    before = files(folder.parent)
    for path in (folder, folder.parent):
        assert sound(path)
        assert f"{folder}: no row is there of {KEYS[3]}, which were begun" in diagnose(path).lines[0]
        assert diagnose(path, repair=True).faults == 0
    assert files(folder.parent) == before


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "torn row": (
        lambda f: cut(f / f"rows/trial_kind=search/{KEYS[1]}.parquet"),
        ["cannot be read as Parquet", "and no row"],
    ),
    "torn curve": (
        lambda f: cut(f / f"curves/trial_kind=search/{KEYS[1]}.parquet"),
        ["cannot be read as Parquet", "and no curve"],
    ),
    "torn scores": (lambda f: cut(next((f / "scores").glob("*"))), ["cannot be read as Parquet"]),
    "torn part": (lambda f: cut_part(f), ["as Parquet"]),
    "not ours": (lambda f: (f / "rows/part-000001-x.parquet").write_bytes(b"PAR1"), ["as Parquet"]),
    "no curve": (lambda f: (f / f"curves/trial_kind=search/{KEYS[1]}.parquet").unlink(), ["has a row and no curve"]),
    "no row": (lambda f: (f / f"rows/trial_kind=search/{KEYS[1]}.parquet").unlink(), ["has a curve and no row"]),
    "experiment": (lambda f: (f / "experiment.json").write_text('{"na'), ["cannot be read as JSON"]),
    "finals": (lambda f: (f / "finals.json").write_bytes(b"\xff\xfe"), ["cannot be read as JSON"]),
    "nested finals": (lambda f: (f / "finals.json").write_text("[" * 9999), ["nested too deeply"]),
    "finals of another kind": (lambda f: (f / "finals.json").write_text('{"final": 3}'), ["does not list roles"]),
    "experiment of another kind": (
        lambda f: (f / "experiment.json").write_text('{"name": "tiny", "comparison": "no"}'),
        ["its comparison is no section"],
    ),
    "an empty experiment": (lambda f: (f / "experiment.json").write_text("{}"), ["it has no name"]),
    "a pipe": (lambda f: pipe(f / "finals.json"), ["it is a pipe, not a file"]),
    "a pipe for rows": (
        lambda f: pipe(f / f"rows/trial_kind=search/{KEYS[1]}.parquet"),
        ["it is a pipe", "and no row"],
    ),
    "percent": (lambda f: change(f, "rows", val_accuracy=93.0), ["whose val_accuracy is no fraction", "and no row"]),
    "infinite": (lambda f: change(f, "rows", test_accuracy=float("inf")), ["whose test_accuracy is no", "and no row"]),
    "no key": (lambda f: change(f, "rows", key=None), ["without key", "and no row"]),
    "no key of a curve": (lambda f: change(f, "curves", key=None), ["without key", "and no curve"]),
    "no status": (lambda f: change(f, "rows", status="done"), ["whose status is none of complete, stopped", "no row"]),
    "versions": (lambda f: change(f, "rows", versions_json="{"), ["whose versions_json cannot be read", "no row"]),
    "options": (lambda f: change(f, "rows", options_json="[1]"), ["whose options_json cannot be read", "no row"]),
    "journal": (
        lambda f: (f / "proposals.jsonl").write_text('{"depth": 1}\n{"de\n{"depth": 3}\n'),
        ["is damaged in line 2 of 3"],
    ),
    "checkpoint": (lambda f: cut(f / f"trials/{KEYS[3]}/checkpoint.pt"), ["checkpoint.pt cannot be read"]),
    "one bit": (lambda f: flip(f / f"trials/{KEYS[3]}/checkpoint.pt"), ["checkpoint.pt is damaged in"]),
    "student": (lambda f: cut(f / f"trials/{KEYS[0]}/student.pt"), ["student.pt cannot", "has lost its weights"]),
    "best student": (
        lambda f: cut(f / f"trials/{KEYS[0]}/student_best.pt"),
        ["student_best.pt cannot", "has lost its weights"],
    ),
    "card": (lambda f: (f / f"trials/{KEYS[0]}/student.json").write_text("{"), ["as JSON", "has lost its weights"]),
    "deleted student": (lambda f: (f / f"trials/{KEYS[0]}/student.pt").unlink(), ["has lost its weights"]),
    "teacher": (lambda f: cut(f.parent / "teachers/abcd/student.pt"), ["student.pt cannot", "without its weights"]),
    "deleted teacher": (lambda f: (f.parent / "teachers/abcd/student.pt").unlink(), ["without its weights"]),
}


@pytest.mark.parametrize("name", slow_but([*DAMAGE][::3], DAMAGE))
def test_damage_is_a_fault_until_it_is_mended(folder, name):
    do, sentences = DAMAGE[name]
    do(folder)
    before, damaged = files(folder.parent), contents(folder.parent)
    found = diagnose(folder.parent)
    assert found.faults > 0
    [line] = [line for line in found.lines if sentences[0] in line]
    assert "--repair" in line
    assert files(folder.parent) == before
    repaired = diagnose(folder.parent, repair=True)
    assert repaired.faults == 0
    for sentence in sentences:
        assert any(sentence in line for line in repaired.lines)
    assert sound(folder.parent)
    assert contents(folder.parent) >= damaged
    assert list(folder.parent.rglob("damaged/notes.txt"))


def test_what_is_set_aside_of_a_part_leaves_the_others_in_it(folder):
    ResultTable(folder).fold()
    (folder / "trials" / KEYS[0] / "student.pt").unlink()
    diagnose(folder, repair=True)
    assert list(ResultTable(folder).read()["key"]) == KEYS[1:3]
    assert list(ResultTable(folder).curves()["key"]) == KEYS[1:3]
    assert ResultTable(folder / "damaged").read()["key"].tolist() == [KEYS[0]]
    assert files(folder / "damaged") >= {f"trials/{KEYS[0]}/checkpoint.pt", f"trials/{KEYS[0]}/student_best.pt"}


def test_trials_whose_folders_were_deleted_are_told_and_no_fault(folder):
    for name in ("checkpoint.pt", "student.pt", "student_best.pt", "student.json"):
        (folder / "trials" / KEYS[0] / name).unlink()
    shutil.rmtree(folder / "trials" / KEYS[1])
    found = diagnose(folder, repair=True)
    told = f"2 of 3 complete trials have lost their folders in trials/ ({KEYS[0]}, {KEYS[1]})"
    assert any(told in line and "their weights are gone for good" in line for line in found.lines)
    assert found.faults == 0


def test_of_a_part_with_one_wrong_row_the_others_stay(folder):
    change(folder, "rows", val_accuracy=93.0)
    for kind in ("rows", "curves"):
        paths = sorted((folder / kind).rglob("*.parquet"))
        tables = [pq.ParquetFile(path).read() for path in paths]
        pq.write_table(pa.concat_tables(tables), folder / kind / "part-000001-a.parquet")
        for path in paths:
            path.unlink()
    with pytest.raises(ResultError, match=r"has 1 of 3 rows whose val_accuracy is no fraction in 0 to 1"):
        ResultTable(folder).read()
    assert diagnose(folder, repair=True).faults == 0
    assert list(ResultTable(folder).read()["key"]) == [KEYS[0], KEYS[2]]


def test_the_journal_keeps_what_stands_before_the_damage(folder):
    (folder / "proposals.jsonl").write_text('{"depth": 1}\n{"de\n{"depth": 3}\n{"dep')
    diagnose(folder, repair=True)
    assert (folder / "proposals.jsonl").read_text() == '{"depth": 1}\n'
    assert (folder / "damaged" / "proposals.jsonl").read_text() == '{"depth": 1}\n{"de\n{"depth": 3}\n{"dep'


def test_clutter_is_no_fault_and_is_cleared_away(folder):
    (folder / "rows" / "trial_kind=search" / f"_{'0123' * 8}-x.parquet").write_bytes(b"half")
    (folder / "trials" / KEYS[3] / "_checkpoint.pt.77").write_bytes(b"half")
    (folder / "trials" / KEYS[3] / "_student.pt.host-1.77.0").write_bytes(b"half")
    (folder / "tune-0123abcd" / "work").mkdir(parents=True)
    with (folder / "proposals.jsonl").open("a") as file:
        file.write('{"dep')
    ResultTable(folder).fold()
    ResultTable(folder).append(row(key=KEYS[0], proposal=0, val_accuracy=0.25), [Point(epoch=1)])
    found = diagnose(folder)
    assert (len(found.lines), found.faults) == (7, 0)
    assert diagnose(folder, repair=True).faults == 0
    assert sound(folder)
    assert not [one for one in files(folder) if "/_" in one or "tune-" in one]
    rows = ResultTable(folder).read()
    assert rows.set_index("key")["val_accuracy"].to_dict() == {KEYS[0]: 0.25, KEYS[1]: 0.9, KEYS[2]: 0.9}


def test_what_is_named_after_a_programs_object_or_a_machine_stays(folder):
    def _build(shape: InputShape) -> nn.Module:
        return nn.Flatten()

    name_student(_build, folder)
    (folder / "_profile-96.json").write_text("{}")
    kept = files(folder)
    assert any("_objects/_build-" in one for one in kept)
    found = diagnose(folder, repair=True)
    assert not [line for line in found.lines if "scratch" in line]
    assert files(folder) == kept


def test_a_folder_that_is_written_to_is_left_alone(folder):
    cut(folder / "rows" / "trial_kind=search" / f"{KEYS[1]}.parquet")
    (folder / "_scratch.host.77.0").write_bytes(b"")
    hold = (
        "import pathlib, sys\nfrom automl_kd.results.store.folder import lock\n"
        "with lock(pathlib.Path(sys.argv[1])):\n    print(flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = files(folder)
        found = diagnose(folder, repair=True)
        process.communicate()
    assert found.lines[0] == f"{folder}: in use by process {process.pid}; not repaired, try again later"
    assert (len(found.lines), found.faults) == (2, 1)
    assert files(folder) == before


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.touch()])
def test_what_holds_no_results_is_one_sentence(tmp_path, make):
    make(tmp_path / "here")
    with pytest.raises(ResultError, match=r"(there is no folder|no results are in) .*here; give the folder"):
        diagnose(tmp_path / "here")


def test_a_record_moved_aside_lets_the_experiment_go_on(folder):
    from automl_kd.results.store.folder import open_folder

    (folder / "experiment.json").write_text("{")
    with pytest.raises(ResultError, match="cannot be read"):
        open_folder(folder, {"name": "tiny"})
    diagnose(folder, repair=True)
    with lock(folder):
        open_folder(folder, {"name": "tiny"})
    assert json.loads((folder / "experiment.json").read_text()) == {"name": "tiny"}
