"""Files are written whole or not at all, on the disk, under scratch names that nobody shares."""

import os
import re
import socket
import stat
import threading
from pathlib import Path

import pytest

import automl_kd
from automl_kd import files
from automl_kd.files.atomic import scratch_of


def full(_descriptor):
    raise OSError(28, "No space left on device")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["ä", b"\0\1", memoryview(b"\0\1")], ids=["text", "bytes", "view"])
def test_content_is_there_and_nothing_else(tmp_path, content):
    path = tmp_path / "deep" / "er" / "a.json"
    files.write(path, content)
    assert path.read_bytes() == ("ä".encode() if isinstance(content, str) else bytes(content))
    assert names(path.parent) == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_new_folder(tmp_path, monkeypatch):
    files.write(tmp_path / "a", "old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "a", "new")
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "made" / "for" / "b", "new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_content_is_synced_before_its_name_and_the_folder_after_it(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(source, target):
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", renamed)
    files.write(tmp_path / "a", "new")
    assert events == ["file", "rename", "folder"]
    events.clear()
    files.write(tmp_path / "mark", "new", durable=False)
    assert events == ["rename"]


def test_scratch_names_hold_machine_and_process_and_never_come_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node 7/ä")
    one, two = scratch_of(tmp_path / "a"), scratch_of(tmp_path / "a")
    assert one != two
    assert one.parent == tmp_path
    assert one.name.startswith(f"_a.node-7-.{os.getpid()}.")


def test_threads_that_write_one_file_leave_one_of_their_contents(tmp_path):
    path, texts = tmp_path / "a", [str(number) * 10_000 for number in range(8)]
    threads = [threading.Thread(target=files.write, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert names(tmp_path) == ["a"]


def test_what_is_there_is_not_created_again(tmp_path):
    files.create(tmp_path / "owner", "first")
    files.create(tmp_path / "owner", "second")
    assert (tmp_path / "owner").read_text() == "first"
    assert names(tmp_path) == ["owner"]


def test_lines_are_added_and_a_torn_last_one_is_dropped(tmp_path):
    path = tmp_path / "deep" / "lines"
    assert files.whole_lines(path) == []
    files.append_line(path, "one")
    files.append_line(path, "two")
    with path.open("a") as file:
        file.write("thr")
    assert files.whole_lines(path) == [b"one", b"two"]
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_folder_is_copied_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "source" / "inner" / "a").write_text("1")
    (tmp_path / "source" / "_torn").write_text("2")

    def without_scratch(_folder, found):
        return {name for name in found if name.startswith("_")}

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            files.copy_folder(tmp_path / "source", tmp_path / "target", ignore=without_scratch)
    assert names(tmp_path) == ["source"]
    files.copy_folder(tmp_path / "source", tmp_path / "target", ignore=without_scratch)
    assert [path.name for path in sorted((tmp_path / "target").rglob("*"))] == ["inner", "a"]


def test_a_lock_is_had_by_one_and_shared_by_many(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as one, path.open() as two, path.open() as three:
        assert files.try_lock(two, shared=True)
        assert files.try_lock(three, shared=True)
        assert not files.try_lock(one)
    with path.open("w") as one, path.open() as two:
        files.wait_lock(one)
        assert not files.try_lock(two, shared=True)


def test_no_other_room_syncs_renames_or_locks_whole_files():
    own = r"os\.fsync|os\.replace|fcntl\.flock|\.write_text\(|\.write_bytes\(|getpid\(\)\}|scratch\.replace\("
    found = [
        f"{path}: {line.strip()}"
        for path in sorted(Path(automl_kd.__file__).parent.rglob("*.py"))
        # One locks before it imports anything; the other runs on devices without this project.
        if path.parent.name != "files" and path.name != "launch.py" and path.parts[-2:] != ("profiling", "measure.py")
        for line in path.read_text().splitlines()
        if re.search(own, line) and "getpid()} on" not in line
    ]
    assert found == []
