"""Experiments as results folders store them, also those of earlier releases, which had one record for every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automl_kd.config.experiment import Experiment
from automl_kd.config.kinds import names_of_fields
from automl_kd.config.reading import parse_record, to_record
from automl_kd.errors import ResultError
from automl_kd.spec_names import SHARED_SECTIONS


def add_new_fields(kind: type[Any], record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A stored experiment of this kind, with the fields that have come since, at their defaults.

    What earlier releases stored of the other kinds is left out. `ResultError` if the stored experiment is of another
    kind; `where`: the file that holds it.
    """
    own = names_of_fields(kind)
    stored, wanted = stored_section(record), next((name for name in SHARED_SECTIONS if name in own), "")
    if stored != wanted:
        raise ResultError(
            f"{where} is {describe_kind(stored)}, and this one is {describe_kind(wanted)}; give this one another name "
            "or --out, or delete that folder"
        )
    others = {*names_of_fields(Experiment), *SHARED_SECTIONS} - own
    return to_record(parse_record(kind, {key: value for key, value in record.items() if key not in others}, where))


def stored_section(record: Mapping[str, Any]) -> str:
    """The section that tells which kind of experiment is stored; empty for a search or a comparison of methods."""
    for name, essential in SHARED_SECTIONS.items():
        section = record.get(name)
        if isinstance(section, Mapping) and section.get(essential):
            return name
    return ""


def describe_kind(section: str) -> str:
    return f"an experiment with a section [{section}]" if section else "a search or a comparison of methods"
