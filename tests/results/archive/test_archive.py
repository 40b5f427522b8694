"""What counts as a student of an archive, and what is left out."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from statistics import stdev
from typing import Any

import pytest

from automl_kd.errors import ResultError
from automl_kd.results.archive.archive import read_student_archive, values_of
from tests.results.archive.made import RECORD, final, proxies, teacher, trial, two_finals, write_archive


def by_key(archive):
    return {one.keys[0]: one for one in archive.trained}


def test_trainings_of_one_student_are_averaged_and_the_best_named_first(tmp_path):
    write_archive(tmp_path / "a", two_finals())
    found = by_key(read_student_archive([tmp_path / "a"]))
    assert set(found) == {"f1", "d1"}
    one = found["f1"]
    assert one.keys == ("f1", "f0")
    assert (one.val_accuracy, one.test_accuracy, one.seeds) == (pytest.approx(0.82), pytest.approx(0.79), 2)
    assert (one.epochs, one.full, one.roles, one.plain) == (10, True, ("found-method",), False)
    assert found["d1"].plain
    assert one.costs.by_name == {"params": 10_000, "macs": 1_000_000, "latency_ms": None, "size_mb": 0.04}


def test_the_standard_error_has_a_part_of_the_seeds_and_one_of_the_images(tmp_path):
    write_archive(tmp_path / "a", [*two_finals(), final("g0", "a" * 12, 0.5, 5)])
    found = by_key(read_student_archive([tmp_path / "a"]))
    seeds, images = stdev([0.80, 0.84]) / math.sqrt(2), math.sqrt(0.82 * 0.18 / 400)
    assert found["f1"].standard_error == pytest.approx(math.hypot(seeds, images))
    assert found["g0"].standard_error == pytest.approx(math.sqrt(0.25 / 400))  # one seed has no deviation


def test_without_a_count_of_images_the_error_is_that_of_the_seeds(tmp_path):
    write_archive(tmp_path / "a", two_finals()[1:])
    assert by_key(read_student_archive([tmp_path / "a"]))["f1"].standard_error == pytest.approx(0.02)


def test_a_trial_in_two_roles_counts_once(tmp_path):
    first, *rest = two_finals()[1:]
    twice = dataclasses.replace(first, role="found-fresh")
    write_archive(tmp_path / "a", [first, twice, *rest])
    one = by_key(read_student_archive([tmp_path / "a"]))["f1"]
    assert (one.seeds, one.roles) == (2, ("found-fresh", "found-method"))


def test_lengths_methods_and_ends_are_kept_apart(tmp_path):
    same = "c" * 12
    trials = [
        trial("s4", same, 0.5, 100),
        trial("s1", same, 0.4, 100, status="stopped", epochs_done=1),
        final("f10", same, 0.6, 100),
        final("f28", same, 0.7, 100, epochs=28, last_epoch=0.5, method="scratch", role="found-scratch"),
        trial("c10", same, 0.65, 100, trial_kind="choice", role="choice", epochs=10, seed=7),
    ]
    found = by_key(read_student_archive([write_archive(tmp_path / "a", trials)]))
    assert {key: (one.epochs, one.full, one.status) for key, one in found.items()} == {
        "s4": (4, False, "complete"),
        "s1": (1, False, "stopped"),
        "c10": (10, True, "complete"),  # with the final of the same length
        "f28": (27.5, True, "complete"),
    }
    assert found["c10"].keys == ("c10", "f10")
    assert found["f28"].standing == found["c10"].standing > found["s4"].standing > found["s1"].standing


def test_a_comparison_s_trials_at_a_part_of_the_compute_are_short(tmp_path):
    whole = final("w0", "a" * 12, 0.5, 5, role="kd", compute_fraction=1.0, epochs=6)
    half = final("h0", "b" * 12, 0.5, 5, role="kd", compute_fraction=0.5, epochs=12)
    found = by_key(read_student_archive([write_archive(tmp_path / "a", [whole, half])]))
    assert (found["w0"].full, found["h0"].full) == (True, False)


def test_failed_and_unmeasured_trials_are_counted(tmp_path):
    lost = [
        trial("x0", "a" * 12, None, 5, status="failed", error="nan"),
        trial("x1", "b" * 12, None, 5, status="stopped", epochs_done=0),
    ]
    archive = read_student_archive([write_archive(tmp_path / "a", [*two_finals(), *lost], proxies(1, None, None))])
    assert len(archive.trained) == 2
    assert archive.left_out == {
        "failed trials": 1,
        "trials without an accuracy on validation": 1,
        "architectures that no proxy could score": 1,
    }


def test_latency_is_the_median_over_all_trainings_of_an_architecture(tmp_path):
    measured: dict[str, Any] = {"latency_batch": 1, "latency_threads": 1, "device": "cpu A"}
    trials = [
        final("f0", "f" * 12, 0.8, 10, latency_ms=3.0, **measured),
        final("f1", "f" * 12, 0.8, 10, latency_ms=9.0, seed=1, **measured),
        trial("s0", "f" * 12, 0.8, 10, latency_ms=4.0, **measured),
        trial("s1", "a" * 12, 0.8, 10, latency_ms=1.0, **{**measured, "device": "cuda B"}),
    ]
    folder = write_archive(tmp_path / "a", trials)
    archive = read_student_archive([folder])
    assert archive.devices == ("cpu A, 1 thread, batch of 1", "cuda B, 1 thread, batch of 1")
    latencies = {key: one.costs.latency_ms for key, one in by_key(archive).items()}
    assert latencies == {"f0": 4.0, "s0": 4.0, "s1": None}
    assert by_key(read_student_archive([folder], "CUDA"))["s1"].costs.latency_ms == 1.0
    with pytest.raises(ResultError, match="no latency is of a device 'pixel'; they are of 'cpu A, 1 thread"):
        read_student_archive([folder], "pixel")


def test_several_experiments_are_one_archive_and_none_is_read_twice(tmp_path):
    write_archive(tmp_path / "root" / "a", two_finals())
    write_archive(tmp_path / "root" / "b", [final("z0", "e" * 12, 0.9, 7, experiment="b")])
    archive = read_student_archive([tmp_path / "root", tmp_path / "root" / "a"])
    assert [one.path.name for one in archive.folders] == ["a", "b"]
    assert {one.keys[0] for one in archive.trained} == {"f1", "d1", "z0"}


def test_scores_of_a_folder_of_experiments_belong_to_it(tmp_path):
    write_archive(tmp_path / "root" / "a", two_finals())
    write_archive(tmp_path / "root", scores=[*proxies(1, 0.5, 0.5), *other_data(proxies(2, 1.0, 1.0))], record={})
    (tmp_path / "root" / "experiment.json").unlink()
    archive = read_student_archive([tmp_path / "root"])
    assert archive.scored_count == 1  # scores on other images say nothing here
    assert len(archive.trained) == 2


def other_data(scores):
    return [dataclasses.replace(one, dataset="cifar10") for one in scores]


def test_other_images_are_refused(tmp_path):
    write_archive(tmp_path / "a", two_finals())
    write_archive(tmp_path / "b", two_finals(), record={**RECORD, "data": {"name": "cifar10"}})
    with pytest.raises(ResultError, match="are of different images, whose accuracies do not compare; give"):
        read_student_archive([tmp_path])


def test_stand_ins_are_refused_and_left_out_beside_others(tmp_path):
    record = {**RECORD, "stand_in": {"images": 1000, "epochs": 300, "resolution": 224}}
    write_archive(tmp_path / "r" / "s", two_finals(stand_in=True), record=record)
    with pytest.raises(ResultError, match=r"A stand-in: .* Search without --stand-in first"):
        read_student_archive([tmp_path / "r" / "s"])
    write_archive(tmp_path / "r" / "a", two_finals())
    archive = read_student_archive([tmp_path / "r"])
    assert [one.path.name for one in archive.folders] == ["a"]
    assert archive.left_out == {"results of a stand-in": 1}


def test_rows_of_a_stand_in_are_left_out_whatever_the_record_says(tmp_path):
    folder = write_archive(tmp_path / "a", two_finals(stand_in=True))
    with pytest.raises(ResultError, match="holds no student that was trained or scored"):
        read_student_archive([folder])


def test_empty_places_are_refused(tmp_path):
    with pytest.raises(ResultError, match=r"there is no folder .*none; give the folder of an experiment"):
        read_student_archive([tmp_path / "none"])
    with pytest.raises(ResultError, match=r"no student is in .*, neither trained nor scored; give the folder"):
        read_student_archive([tmp_path])
    with pytest.raises(ResultError, match="holds no student that was trained or scored; wait for the first trial"):
        read_student_archive([write_archive(tmp_path / "a", [teacher()])])


def test_values_of_trained_and_scored_architectures_are_found(tmp_path):
    trained = final("f0", "f" * 12, 0.8, 10, values_json='{"depth": 9}')
    archive = read_student_archive([write_archive(tmp_path / "a", [trained], proxies(3, 1.0, 1.0))])
    assert values_of(archive, "search_spaces.tiny:SPACE", "f" * 12) == {"depth": 9}
    assert values_of(archive, "search_spaces.tiny:SPACE", f"{3:012x}") == {"depth": 3}
    with pytest.raises(ResultError, match="no student of the archive is"):
        values_of(archive, "search_spaces.other:SPACE", f"{3:012x}")


def test_an_old_folder_without_a_record_is_read(tmp_path):
    folder = write_archive(tmp_path / "a", [trial("s4", "a" * 12, 0.5, 5), trial("s9", "b" * 12, 0.5, 5, epochs=9)])
    (folder / "experiment.json").unlink()
    assert {key: one.full for key, one in by_key(read_student_archive([folder])).items()} == {"s4": False, "s9": True}


def test_neither_pandas_nor_torch_is_imported(tmp_path):
    folder = write_archive(tmp_path / "a", two_finals(), [one for n in range(5) for one in proxies(n, n, n)])
    code = (
        "import sys; sys.argv = ['automl-kd', 'pick', sys.argv[1], '--max-params', '1M', '--json']\n"
        "from automl_kd.cli import main; main()\n"
        "heavy = {'pandas', 'torch', 'ray', 'matplotlib', 'scipy', 'optuna'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["keys"] == ["f1", "f0"]


def test_images_add_no_error_where_another_metric_was_measured(tmp_path):
    f1 = [dataclasses.replace(one, metric="macro_f1") for one in two_finals()]
    assert by_key(read_student_archive([write_archive(tmp_path / "a", f1)]))["f1"].standard_error == pytest.approx(0.02)


def test_a_search_trial_from_its_parent_s_weights_is_not_full_and_a_final_is(tmp_path):
    trials = [
        trial("s0", "a" * 12, 0.9, 100, epochs=10),
        trial("s1", "b" * 12, 0.9, 100, epochs=10, init="parent", parent="s0"),
        trial("c1", "c" * 12, 0.9, 100, epochs=10, init="teacher"),
        final("f1", "d" * 12, 0.9, 100, init="parent"),
    ]
    found = by_key(read_student_archive([write_archive(tmp_path / "a", trials)]))
    assert {key: one.full for key, one in found.items()} == {"s0": True, "s1": False, "c1": True, "f1": True}
    assert [key for key, one in found.items() if one.inherited] == ["s1"]
