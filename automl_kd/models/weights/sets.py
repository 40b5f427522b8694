"""Sets of weights in a file: where they lie, under which prefix, and how far each fits a network.

Training scripts wrap weights in other things, and wrappers of networks put a prefix before their names. Instead of a
list of such habits, whatever names of the file end like those of the network are taken as its weights, if what stands
before them is the same throughout and only means "the network".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

WRAPPERS = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What data-parallel training, compiling, Fabric, FSDP and activation checkpointing put into names, at any place."""

NETWORK_WORDS = {"model", "net", "network", "student", "teacher", "ema", "ema_model", "model_ema", "swa_model"}
"""Attributes under which a larger module, such as Lightning's, keeps the network itself."""

TRACKED = "num_batches_tracked"
"""Counts batches of a batch normalisation, which no output depends on; older files lack it."""

EXTRA_ENTRIES = {TRACKED, "total_ops", "total_params", "n_averaged"}
"""Buffers that a profiler or averaging leaves among weights, and that a network need not have."""

AVERAGED_WORDS = {"ema", "swa", "avg", "average", "averaged"}
"""Words in the name of weights that are a mean over steps of training."""

DEPTH = 4
"""How many mappings within each other are looked into."""


@dataclass(frozen=True)
class WeightSet:
    """Weights as they lie in a file: `name`, the keys on the way to them joined by dots, empty for none.

    `metadata`: the version of each module by its path, as `state_dict` leaves them; empty where the file has none.
    """

    name: str
    tensors: Mapping[str, Any]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Match:
    """A set as the weights of one network, under the network's names.

    `found`: what the network has. `surplus`: what it has not. `missing`: what the set lacks of it; `untracked`:
    likewise, counts of batches. `aside`: names in the file of what is no weight or one of something else.
    `before`: what was dropped from names. `versions`: of modules by their path; `versioned`: of all of them.
    """

    name: str
    found: Mapping[str, Any]
    surplus: Mapping[str, Any]
    missing: tuple[str, ...]
    untracked: tuple[str, ...]
    aside: tuple[str, ...]
    before: str
    versions: Mapping[str, Any]
    versioned: bool

    @property
    def is_average(self) -> bool:
        return bool(split_words(self.name) & AVERAGED_WORDS)

    def is_called(self, asked: str) -> bool:
        """By its name, the beginning of that up to a dot, or a word of it."""
        return asked == self.name or self.name.startswith(f"{asked}.") or asked.casefold() in split_words(self.name)


def split_words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.casefold()))


def sets_in(saved: object) -> Iterator[WeightSet]:
    """All mappings from names to tensors in what was saved, in the order of the file, outer ones first."""
    level = [("", saved)]
    for _ in range(DEPTH):
        below = []
        for name, node in level:
            if not isinstance(node, Mapping):
                continue
            named = {key: value for key, value in node.items() if isinstance(key, str)}
            if tensors := {key: value for key, value in named.items() if is_weight(key, value)}:
                metadata = getattr(node, "_metadata", None)
                yield WeightSet(name, tensors, metadata if isinstance(metadata, Mapping) else {})
            below += [(join_names(name, key), value) for key, value in named.items() if key not in tensors]
        level = below


def is_weight(key: str, value: object) -> bool:
    return isinstance(value, Tensor) or key.endswith("_extra_state")  # of modules that save more than tensors


def join_names(*names: str) -> str:
    return ".".join(filter(None, names))


def matches(one: WeightSet, own: Mapping[str, Any], paths: Collection[str]) -> list[Match]:
    """The set as weights of a network with the state `own` and modules at `paths`; once for each prefix that will do.

    Always at least one, which shows how the set differs where none fits.
    """
    ours, theirs = plain(own), plain(one.tensors)
    within = common(ours)
    needed = [name.removeprefix(within) for name in ours if not name.endswith(TRACKED)]
    fitting = [before for before in prefixes(needed, theirs) if may_precede(before, theirs)]
    return [match(one, ours, theirs, paths, within, before) for before in fitting or [common(theirs)]]


def match(
    one: WeightSet, ours: Mapping[str, str], theirs: Mapping[str, str], paths: Collection[str], within: str, before: str
) -> Match:
    """`ours`, `theirs`: names by plain names, of which those of the network begin with `within` and `before`."""
    raw = {name: theirs.get(before + plain_name.removeprefix(within)) for plain_name, name in ours.items()}
    taken = set(raw.values())
    left = {plain_name: name for plain_name, name in theirs.items() if name not in taken}
    aside = {name: there for name, there in left.items() if not name.startswith(before) or last(name) in EXTRA_ENTRIES}
    absent = [name for name, there in raw.items() if there is None]
    versions = versions_by_path(one.metadata, paths, within, before)
    return Match(
        name=join_names(one.name, before.rstrip(".")),
        found={name: one.tensors[there] for name, there in raw.items() if there is not None},
        surplus={
            within + name.removeprefix(before): one.tensors[there] for name, there in left.items() if name not in aside
        },
        missing=tuple(name for name in absent if last(name) != TRACKED),
        untracked=tuple(name for name in absent if last(name) == TRACKED),
        aside=tuple(aside.values()),
        before=dropped(raw),
        versions={path: version for path, version in versions.items() if version is not None},
        versioned=None not in versions.values(),
    )


def plain(names: Iterable[str]) -> dict[str, str]:
    """Each name by itself without what wrappers put into it; unchanged where two would become one."""
    names = list(names)
    found = {unwrap_entry(name): name for name in names}
    return found if len(found) == len(names) else {name: name for name in names}


def unwrap_entry(name: str) -> str:
    return ".".join(piece for piece in name.split(".") if piece not in WRAPPERS)


def last(name: str) -> str:
    return name.rpartition(".")[2]


def common(names: Collection[str]) -> str:
    """The longest beginning, with its dots, of words for the network itself that all names share."""
    weights = [name for name in names if last(name) not in EXTRA_ENTRIES]
    before = ""
    while weights and (piece := weights[0][len(before) :].partition(".")[0]) in NETWORK_WORDS:
        if not all(name.startswith(f"{before}{piece}.") for name in weights):
            break
        before += f"{piece}."
    return before


def prefixes(needed: list[str], theirs: Collection[str]) -> list[str]:
    """What stands before every one of the `needed` names among `theirs`, each possibility once."""
    if not needed:
        return []
    longest = max(needed, key=len)
    ends = [name.removesuffix(longest) for name in theirs if name.endswith(longest)]
    found = [before for before in dict.fromkeys(ends) if not before or before.endswith(".")]
    return [before for before in found if all(before + name in theirs for name in needed)]


def may_precede(before: str, theirs: Collection[str]) -> bool:
    """Whether names with this prefix are the network itself, and not one of its parts that looks like ours."""
    if set(before.rstrip(".").split(".")) <= NETWORK_WORDS or not before:
        return True
    return all(name.startswith(before) for name in theirs if last(name) not in EXTRA_ENTRIES)


def dropped(raw: Mapping[str, str | None]) -> str:
    """What the names of the file have before or within those of the network, as in the first that differs."""
    for name, there in raw.items():
        if there is not None and there != name:
            if there.endswith(f".{name}"):
                return there.removesuffix(name)
            return "".join(f"{piece}." for piece in there.split(".") if piece not in name.split("."))
    return ""


def versions_by_path(
    metadata: Mapping[str, Any], paths: Collection[str], within: str, before: str
) -> dict[str, Mapping[str, Any] | None]:
    """The file's version of each of the network's modules, by the network's paths; None where it has none."""
    given = {
        unwrap_entry(path): version for path, version in metadata.items()
    }  # what is wrapped comes after its wrapper
    inner = {path: f"{unwrap_entry(path)}." for path in paths}
    return {
        path: given.get((before + name.removeprefix(within)).strip("."))
        for path, name in inner.items()
        if name.startswith(within)
    }
