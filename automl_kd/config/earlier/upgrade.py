"""The rewriting of experiment files of earlier releases: names become today's, and nothing else changes."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path

from automl_kd import files
from automl_kd.config.earlier.toml_tokens import Token, TomlTokens
from automl_kd.config.reading import read_toml, refuse_strange
from automl_kd.errors import ConfigError, FileError
from automl_kd.spec_names import KEYS, VALUES, current_experiment

BYTE_ORDER_MARK = "\ufeff"
WRITABLE = 0o222


def upgrade_file(path: Path) -> str:
    """Rewrite the experiment at `path` under today's names; the difference in lines, empty if it has them already.

    The file changes whole or not at all, keeps its mode, and is not touched if there is nothing to change. A
    `ConfigError` says what cannot be read or renamed.
    """
    try:
        given = files.read_bytes(path).decode()
    except (FileError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, FileError) else "it is not text in UTF-8"
        raise ConfigError(f"no experiment could be read from {path}: {reason}; give the path of a TOML file") from error
    mark = BYTE_ORDER_MARK if given.startswith(BYTE_ORDER_MARK) else ""
    old = given.removeprefix(mark)
    new = upgrade_text(old, str(path))
    if new == old:
        return ""
    if not path.stat().st_mode & WRITABLE:
        raise ConfigError(f"{path} is read-only; make it writable (chmod u+w) or upgrade a copy of it")
    files.write(path.resolve(), mark + new, keep_mode=True)
    return difference(given, mark + new, str(path))


def difference(old: str, new: str, name: str) -> str:
    """What changed, line by line, as `patch` reads it: lines end with a line feed alone."""
    one, two = (text.split("\n") for text in (old, new))
    one, two = ([f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line] for lines in (one, two))
    changed = difflib.unified_diff(one, two, name, name, n=0)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in changed)


def upgrade_text(text: str, where: str = "experiment") -> str:
    """An experiment in TOML under today's names, with its comments, order and layout.

    It is read again: unless it then says what the old one said, a `ConfigError` is raised.
    """
    try:
        record = read_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}; give an experiment file") from error
    refuse_strange(record, where)
    upgraded, tokens = text, TomlTokens(text).found
    for token in reversed(tokens):
        if (new := current_name(token)) != token.name:
            upgraded = (
                upgraded[: token.start] + written_like(text[token.start : token.end], new) + upgraded[token.end :]
            )
    try:
        same = read_toml(upgraded) == current_experiment(record)
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ConfigError(f"{where} has {named_twice(tokens)}; keep one of the two, then upgrade it")
    return upgraded


def named_twice(tokens: Sequence[Token]) -> str:
    """The first key that stands there under its old and its new name."""
    given = {token.path for token in tokens if token.is_key}
    for token in tokens:
        renamed = (*token.path[:-1], current_name(token))
        if token.is_key and renamed != token.path and renamed in given:
            return f"both {'.'.join(token.path)!r} and {'.'.join(renamed)!r}"
    return "something under its old and its new name"


def current_name(token: Token) -> str:
    """What a key, or a word that is a value, is called today."""
    path: tuple[str, ...] = ()
    for name in token.path[:-1] if token.is_key else token.path:
        path = (*path, KEYS.get(path, {}).get(name, name))
    return (KEYS if token.is_key else VALUES).get(path, {}).get(token.name, token.name)


def written_like(old: str, new: str) -> str:
    """`new` in the quotes of `old`, which may have none."""
    quotes = next((one for one in ('"""', "'''", '"', "'") if old.startswith(one)), "")
    return quotes + new + quotes
