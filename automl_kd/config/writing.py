"""An experiment as commented TOML: every field with value, meaning and what it may be; it reads back the same."""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from automl_kd.config.meanings import Meaning, meanings_of, member_record, summary_of
from automl_kd.config.range import Range
from automl_kd.config.reading import field_types
from automl_kd.errors import ConfigError
from automl_kd.spec import default_of

COMMENT_WIDTH = 100
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Wanted = Callable[[str], bool]
"""Whether a field is written, by its dotted key."""


def every_field(_key: str) -> bool:
    return True


def write_commented(experiment: Any, wanted: Wanted = every_field, head: str = "") -> str:
    """The experiment as TOML, each field below a comment; `ConfigError` for text that no TOML file can hold.

    `wanted`: the fields to write, others must have their default to be read back. `head`: the first comment.
    """
    lines = [*comment(head or summary_of(type(experiment))), "", *record_lines(experiment, "", wanted)]
    text = "\n".join(lines).rstrip("\n") + "\n"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("a text of the experiment holds bytes that are no UTF-8; take them out") from error
    return text


def record_lines(record: Any, prefix: str, wanted: Wanted, *, commented: bool = True) -> Iterator[str]:
    """Plain fields first, as TOML wants it, then sections."""
    kind: Any = type(record)
    types, meanings = field_types(kind), meanings_of(kind)
    sections = []
    for item in dataclasses.fields(record):
        value, key = getattr(record, item.name), f"{prefix}{item.name}"
        if is_section(value, types[item.name]):
            sections.append((key, value, types[item.name], meanings[item.name]))
        elif wanted(key):
            if commented:
                yield from field_comment(item, value, meanings[item.name])
                yield from member_comment(types[item.name], value, key, kind)
            yield f"{write_key(item.name)} = {toml_value(value)}"
    for key, value, hint, meaning in sections:
        yield from section_lines(key, value, hint, meaning, wanted, kind)


def is_section(value: Any, hint: Any) -> bool:
    """Whether a value has a heading of its own: a record, or what is not empty and holds records or ranges."""
    if dataclasses.is_dataclass(value):
        return True
    return bool(value) and member_record(hint) is not None


def section_lines(key: str, value: Any, hint: Any, meaning: Meaning, wanted: Wanted, owner: Any) -> Iterator[str]:
    if dataclasses.is_dataclass(value):
        yield from table_lines(f"[{key}]", value, f"{key}.", meaning.sentence, wanted)
        return
    if not wanted(key):
        return
    if member_record(hint) is Range:
        yield from ["", *comment(meaning.sentence), f"[{key}]"]
        yield from (f"{write_key(name)} = {toml_value(one)}" for name, one in value.items())
        return
    if member_record(hint) is owner:  # whose fields stand above, with their comments
        for place, one in enumerate(value):
            yield from ["", *(comment(meaning.sentence) if place == 0 else [])]
            yield from [f"[[{key}]]", *record_lines(one, f"{key}.", given_fields(one, f"{key}."), commented=False)]
        return
    members = value.items() if isinstance(value, Mapping) else ((None, one) for one in value)
    for place, (name, one) in enumerate(members):
        heading = f"[[{key}]]" if name is None else f"[{key}.{write_key(name)}]"
        yield from table_lines(heading, one, f"{key}.", meaning.sentence, every_field, commented=place == 0)


def given_fields(record: Any, prefix: str) -> Wanted:
    """Whether a field differs from its default, which every field has."""
    plain = type(record)()

    def differs(key: str) -> bool:
        read = attrgetter(key.removeprefix(prefix))
        return bool(read(record) != read(plain))

    return differs


def table_lines(
    heading: str, record: Any, prefix: str, meaning: str, wanted: Wanted, *, commented: bool = True
) -> Iterator[str]:
    """A heading with its fields; nothing if none is wanted. Of several alike, the first has comments."""
    body = list(record_lines(record, prefix, wanted, commented=commented))
    plain = [place for place, line in enumerate(body) if line.startswith("[")]
    if body and (plain or any(body)):
        own = body[: plain[0]] if plain else body
        named = any(line and not line.startswith("#") for line in own)
        yield from ["", *(comment(meaning) if commented and named else []), *([heading] if named else [])]
        yield from body


def field_comment(item: Any, value: Any, meaning: Meaning) -> list[str]:
    """What a field means and may be, and its default where it has another value."""
    has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
    default = default_of(item) if has_default else value
    return comment(meaning.sentence + (f" Default: {toml_value(default)}." if default != value else ""))


def member_comment(hint: Any, value: Any, key: str, owner: Any) -> Iterator[str]:
    """The fields of what an empty list or table may hold, unless they are those of its owner."""
    kind = member_record(hint)
    if kind is None or kind is Range or value:
        return
    heading = f"[{key}.NAME]" if isinstance(value, Mapping) else f"[[{key}]]"
    if kind is owner:
        yield from comment(f"In place of the line below, each is a table {heading} of fields as above.")
        return
    yield from comment(f"In place of the line below, each is a table {heading} of these fields:")
    for name, meaning in meanings_of(kind).items():
        yield from comment(f"{name}: {meaning.sentence}", indent="  ")


def comment(text: str, indent: str = "") -> list[str]:
    start = f"# {indent}"
    return textwrap.wrap(
        text,
        COMMENT_WIDTH,
        initial_indent=start,
        subsequent_indent=f"{start}{indent}",
        break_on_hyphens=False,
        break_long_words=False,
    )


def toml_value(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return toml_value({item.name: getattr(value, item.name) for item in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{write_key(name)} = {toml_value(one)}" for name, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return repr(value)


def write_key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else toml_value(name)
