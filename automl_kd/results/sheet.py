"""A table of formatted strings, for the terminal, Markdown and the page."""

from __future__ import annotations

import re
from typing import NamedTuple


class Column(NamedTuple):
    """`numeric` columns are aligned to the right."""

    name: str
    numeric: bool = False


class Sheet(NamedTuple):
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        rule = ["---:" if column.numeric else "---" for column in self.columns]
        lines = [
            [escape(column.name) for column in self.columns],
            rule,
            *([escape(cell) for cell in row] for row in self.rows),
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def escape(cell: str) -> str:
    """Text that can neither end a cell nor begin an HTML tag."""
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def without_html(text: str) -> str:
    """Return Markdown without HTML tags, except for the comment in its first line that names the command.

    Labels, options and errors of rows come from spaces and methods of other people.
    """
    made = re.match(r"<!-- made by: [^\n]*? -->\n", text)
    head = made[0] if made else ""
    return head + text[len(head) :].replace("<", "&lt;")
