"""Pages for readers, and what of them can be checked: blocks by language, commands, words in code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tests import ROOT

GUIDES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "findings" / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
)
PAGES = {path.relative_to(ROOT).as_posix(): path for path in GUIDES}

ENTRY = re.compile(r"(?:^|\s)(?:automl-kd|python -m automl_kd|benchmarks/submit\.py --) (?=[a-z-])")
"""What stands before the arguments of our command."""


def text_of(page: str) -> str:
    return PAGES[page].read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks; the language of commands is empty."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)
    return [text for of, text in fenced if of == language]


def block_with(language: str, content: str, page: str = "") -> str:
    """The only block of a page, or of all pages, that has it."""
    (found,) = (one for name in ([page] if page else PAGES) for one in blocks(name, language) if content in one)
    return found


def code_spans(page: str) -> list[str]:
    """What stands between single backticks outside blocks; a span may go over a line's end."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def commands(page: str) -> Iterator[str]:
    """Lines of blocks without a language, as a shell reads them, and spans."""
    yield from (line for block in blocks(page, "") for line in block.splitlines())
    yield from code_spans(page)


def arguments_of(command: str) -> list[str]:
    """What our command would be given, without a comment; empty if it is not called."""
    found = ENTRY.search(command)
    return shlex.split(command[found.end() :], comments=True) if found else []
