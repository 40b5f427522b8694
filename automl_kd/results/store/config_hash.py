"""The config hash: a digest of a trial's spec without student, method, options and seed.

It covers data, recipe and teacher, in six hex digits: trials of one entry of a leaderboard share it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from automl_kd.hashing import hash_json
from automl_kd.spec import TrialSpec, stored_fields

LEFT_OUT = ("space", "architecture", "method", "options", "seed")
"""Fields of a spec that other columns hold, or in which the trials of an entry differ."""


def hash_configs(specs: Iterable[str]) -> list[str]:
    """The hash of each spec, given as JSON. Specs that differ in nothing else are read once."""
    known: dict[str, str] = {}
    found = []
    for text in specs:
        rest = untold(text)
        if rest not in known:
            known[rest] = hash_config(text)
        found.append(known[rest])
    return found


def hash_config(spec_json: str) -> str:
    rest = {name: value for name, value in record_of(spec_json).items() if name not in LEFT_OUT}
    return hash_json(rest, digits=6)


def record_of(spec_json: str) -> dict[str, Any]:
    """Without fields that equal their default: specs from before there was such a field agree with later ones."""
    try:
        found = stored_fields(TrialSpec.from_json(spec_json))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):  # of another version, or damaged
        found = read_object(spec_json)
    return found


def read_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; any other text stands for itself."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"unreadable": text}


def untold(spec_json: str) -> str:
    """`spec_json` without most of what other columns hold: where two specs agree in this, their hashes agree.

    Only text that other columns surely hold is cut; a spec in another form than ours stays longer than necessary.
    """
    start = spec_json.find("}") if spec_json.startswith('{"architecture": {') else 0
    end_of_space, recipe = spec_json.find('"method": ', start), spec_json.find(', "recipe": ', start)
    seed, teacher = spec_json.find(', "seed": ', recipe), spec_json.find(', "teacher": ', recipe)
    if not -1 < end_of_space < recipe < seed < teacher:
        return spec_json
    if not (is_left_out(spec_json[end_of_space:recipe]) and is_left_out(spec_json[seed + 2 : teacher])):
        return spec_json
    return spec_json[start:end_of_space] + spec_json[recipe:seed] + spec_json[teacher:]


@lru_cache(maxsize=10_000)
def is_left_out(piece: str) -> bool:
    """Whether a piece of a spec holds only what other columns hold."""
    try:
        return set(json.loads("{" + piece + "}")) <= set(LEFT_OUT)
    except ValueError:
        return False
