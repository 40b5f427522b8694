"""Pinned files: known by what they hold, refused once they hold something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ConfigError
from automl_kd.storage.content_hash import by_content, located_path, pin

DIGEST = hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path: Path = tmp_path / "a b" / "mine@home.json"
    path.parent.mkdir()
    path.write_bytes(b"one")
    return path


def test_a_pin_is_the_absolute_path_and_the_digest(file, monkeypatch):
    assert pin("a b/mine@home.json") == f"{file}@sha256-{DIGEST}"
    monkeypatch.setenv("HOME", str(file.parent))
    assert pin("~/mine@home.json") == pin(str(file)) == f"{file}@sha256-{DIGEST}"


def test_pinned_again_it_stays_and_stands_for_its_path(file):
    assert pin(pin(str(file))) == pin(str(file))
    assert located_path(pin(str(file))) == located_path("a b/mine@home.json") == file


def test_another_content_is_refused(file):
    pinned = pin(str(file))
    file.write_bytes(b"two")
    for use in (pin, located_path):
        with pytest.raises(
            ConfigError, match=f"^{file} has changed since it was named in this experiment; put .* back"
        ):
            use(pinned)
    file.unlink()
    with pytest.raises(ConfigError, match=f"^no file could be read from {file}: No such file or directory; check the"):
        located_path(pinned)


def test_only_the_content_counts(file):
    other = file.with_name("other.json")
    other.write_bytes(b"one")
    assert by_content(pin(str(file))) == by_content(pin(str(other))) == f"@sha256-{DIGEST}"
    assert by_content(f"model:subgraph:{pin(str(file))}") == f"model:subgraph:@sha256-{DIGEST}"
    other.write_bytes(b"two")
    assert by_content(pin(str(other))) != f"@sha256-{DIGEST}"


@given(st.text())
def test_other_texts_count_as_they_are(text):
    assert by_content(text) == text
    assert by_content(f"/{text}@sha256-") == f"/{text}@sha256-"
