"""The rewriting of experiment files of earlier releases: names become today's, and nothing else changes."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

from automl_kd import files
from automl_kd.config.reading import read_toml, refuse_strange
from automl_kd.config.toml_tokens import Token, TomlTokens
from automl_kd.errors import ConfigError, FileError
from automl_kd.spec_names import KEYS, VALUES, current_experiment

BYTE_ORDER_MARK = "\ufeff"


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
    files.write(path.resolve(), mark + new, keep_mode=True)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), str(path), lineterm="", n=0)
    return "\n".join(lines)


def upgrade_text(text: str, where: str = "experiment") -> str:
    """An experiment in TOML under today's names, with its comments, order and layout.

    It is read again: unless it then says what the old one said, a `ConfigError` is raised.
    """
    try:
        record = read_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}; give an experiment file") from error
    refuse_strange(record, where)
    upgraded = text
    for token in reversed(TomlTokens(text).found):
        if (new := current_name(token)) != token.name:
            upgraded = (
                upgraded[: token.start] + written_like(text[token.start : token.end], new) + upgraded[token.end :]
            )
    try:
        same = read_toml(upgraded) == current_experiment(record)
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ConfigError(f"{where} has something under its old and its new name; keep one of the two, then upgrade it")
    return upgraded


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
