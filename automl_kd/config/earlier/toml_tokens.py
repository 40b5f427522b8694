"""Where the keys and strings of a TOML text stand: enough to change names in it and leave all else as it is.

The text must be valid TOML 1.0, which `tomllib` says; nothing is checked here.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

Path = tuple[str, ...]

BLANK = re.compile(r"(?:\s|#[^\n]*)*")
SPACE = re.compile(r"[ \t]*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
STRING = re.compile(r'"""(?s:\\.|[^\\])*?"{3,5}(?!")' r"|'''(?s:.)*?'{3,5}(?!')" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'")
OTHER_VALUE = re.compile(r"[^,\]}#\n]+")
"""Numbers, words and times, which may have a space in them."""


class Token(NamedTuple):
    """A key, or a string that is a value, from `start` to `end` of the text.

    `path`: of a key with itself, of a value the place where it stands; "*" is any place in a list. `name`: what it
    says.
    """

    path: Path
    is_key: bool
    start: int
    end: int
    name: str


class TomlTokens:
    """The tokens of a text, in order, found by reading it once."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: list[Token] = []
        self.lists: set[Path] = set()
        table: Path = ()
        while self.skip(BLANK):
            if self.text[self.at] == "[":
                table = self.read_header()
            else:
                self.read_pair(table)

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Pass over what fits; whether anything follows."""
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at < len(self.text)

    def take(self, mark: str) -> bool:
        """Pass over `mark` and the blanks before it, if it comes next."""
        self.skip(BLANK)
        there = self.text.startswith(mark, self.at)
        self.at += len(mark) if there else 0
        return there

    def read_header(self) -> Path:
        """The place of the table that `[name]` or `[[name]]` begins."""
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path = self.read_keys(())
        self.take("]]" if many else "]")
        if many:
            self.lists.add(path)
        return (*path, "*") if many else path

    def read_pair(self, table: Path) -> None:
        path = self.read_keys(table)
        self.take("=")
        self.read_value(path)

    def read_keys(self, path: Path) -> Path:
        """The place that keys with dots between them name; what lies in a list of tables lies in its last one."""
        while True:
            self.skip(SPACE)
            path = (*path, "*") if path in self.lists else path
            match = STRING.match(self.text, self.at) or BARE_KEY.match(self.text, self.at)
            assert match is not None  # as the text is valid
            name = read_string(match[0]) if match[0][0] in "\"'" else match[0]
            path, self.at = (*path, name), match.end()
            self.found.append(Token(path, True, match.start(), match.end(), name))
            self.skip(SPACE)
            if not self.text.startswith(".", self.at):
                return path
            self.at += 1

    def read_value(self, path: Path) -> None:
        self.skip(SPACE)
        if match := STRING.match(self.text, self.at):
            self.found.append(Token(path, False, match.start(), match.end(), read_string(match[0])))
            self.at = match.end()
        elif self.take("["):
            while not self.take("]"):
                self.read_value((*path, "*"))
                self.take(",")
        elif self.take("{"):
            while not self.take("}"):
                self.read_pair(path)
                self.take(",")
        else:
            self.skip(OTHER_VALUE)


def read_string(text: str) -> str:
    return str(tomllib.loads(f"name = {text}")["name"])
