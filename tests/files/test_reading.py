"""Only regular files are read, and no more of them than was allowed; nothing is waited for."""

import os
import pickle
import socket
from pathlib import Path

import pytest

from automl_kd import files
from automl_kd.errors import AutoMLKDError, FileError


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("read", [files.require_file, files.open_file, files.read_bytes, files.read_text])
def test_a_pipe_is_refused_at_once(pipe, read):
    with pytest.raises(FileError, match=r"pipe cannot be read: it is a pipe, not a file; check the path"):
        read(pipe)


def test_a_device_a_socket_and_a_folder_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"/dev/zero cannot be read: it is a device"):
        files.read_bytes(Path("/dev/zero"))
    with pytest.raises(FileError, match="it is a folder"):
        files.read_bytes(tmp_path)
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        with pytest.raises(FileError, match="it is a socket"):
            files.read_bytes(Path("s"))


@pytest.mark.parametrize("name", ["gone", "a/b\0c", "x" * 5000, "\ud800"], ids=["gone", "nul", "long", "surrogate"])
def test_a_path_that_leads_nowhere_is_one_sentence(tmp_path, name):
    with pytest.raises(FileError, match=r"^[^\0]* cannot be read: .*; check the path$"):
        files.read_text(tmp_path / name)


def test_the_limit_counts_also_where_the_system_states_no_size(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10))
    assert files.read_bytes(tmp_path / "a", limit=10) == bytes(10)
    with pytest.raises(FileError, match="it has 10 bytes, more than the 9 that are read"):
        files.read_bytes(tmp_path / "a", limit=9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone has files that state no size")
def test_a_file_of_unknown_size_is_read_up_to_the_limit():
    assert b"Name:" in files.read_bytes(Path("/proc/self/status"))
    with pytest.raises(FileError, match="more than the 9 bytes"):
        files.read_bytes(Path("/proc/self/status"), limit=9)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfname = 1")
    assert files.read_text(tmp_path / "a") == "name = 1"
    (tmp_path / "b").write_bytes(b"\xff\xfen\0")
    with pytest.raises(FileError, match="it is not text in UTF-8"):
        files.read_text(tmp_path / "b")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000], ids=["empty", "torn", "deep", "digits"])
def test_json_that_is_none_is_one_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FileError, match=r"a\.json cannot be read: it is not JSON: "):
        files.read_json(tmp_path / "a.json")


def test_unknown_homes_and_nul_are_one_sentence():
    with pytest.raises(FileError, match="no home folder is known"):
        files.expand("~nobody-of-this-name/x")
    with pytest.raises(FileError, match="NUL"):
        files.expand("a\0b")
    assert files.expand("~/x") == Path.home() / "x"


def test_the_error_is_one_of_ours_and_one_of_the_system_and_travels_between_processes(tmp_path):
    with pytest.raises(FileError) as caught:
        files.read_text(tmp_path / "gone")
    error = caught.value
    assert isinstance(error, AutoMLKDError)
    assert isinstance(error, OSError)
    assert error.strerror == "No such file or directory"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
