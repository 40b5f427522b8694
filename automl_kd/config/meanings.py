"""What the fields of an experiment mean and may be: parsed from the docstrings of its records, the one place that says.

A docstring tells of a field as "`name` (allowed values): meaning.", up to the next field; several fields may share a
meaning. What comes before the first field is about the record itself. Types add the values that a choice has.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from functools import cache
from typing import Any, NamedTuple

from automl_kd.config.reading import field_types, record_in
from automl_kd.registry import choices_of

FIELDS = re.compile(r"(?:`\w+`(?: \([^()]*\))?(?:, )?)+: ")
ONE_FIELD = re.compile(r"`(\w+)`(?: \(([^()]*)\))?")

ANYTHING = "any"
"""What a docstring writes of a number without limits."""


class Meaning(NamedTuple):
    """`allowed`: values in words, empty for texts and tables of anything."""

    text: str
    allowed: str = ""

    @property
    def sentence(self) -> str:
        """Such as "Passes over the training images (1 or more)."."""
        text = f"{self.text[:1].upper()}{self.text[1:]}".rstrip(".")
        return f"{text}." if self.allowed in {"", ANYTHING} else f"{text}. Allowed: {self.allowed}."


@cache
def meanings_of(kind: Any) -> dict[str, Meaning]:
    """The meaning of every field of a record that its docstring tells of; of a section, that of its record."""
    text = docstring_of(kind)
    found = {}
    entries = list(FIELDS.finditer(text))
    ends = [entry.start() for entry in entries[1:]] + [len(text)]
    for entry, end in zip(entries, ends, strict=True):
        for name, allowed in ONE_FIELD.findall(entry[0]):
            found[name] = Meaning(text[entry.end() : end].strip(), allowed or allowed_by_type(kind, name))
    for name, hint in field_types(kind).items():
        if dataclasses.is_dataclass(hint):
            found[name] = Meaning(summary_of(hint))
    return found


def summary_of(kind: Any) -> str:
    """What a record is, without its fields."""
    text = docstring_of(kind)
    first = FIELDS.search(text)
    return (text[: first.start()] if first else text).strip()


def docstring_of(kind: Any) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def allowed_by_type(kind: Any, name: str) -> str:
    """The values that a type allows, in words; empty for texts, tables and lists of anything."""
    if options := choices_of(kind).get(name):
        return ", ".join(f'"{one}"' for one in options)
    return "true or false" if field_types(kind).get(name) is bool else ""


def member_record(hint: Any) -> Any:
    """The record that members of a list or a table of this type are; None for plain values, and for records."""
    return None if dataclasses.is_dataclass(hint) else record_in(hint)
