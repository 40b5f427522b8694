"""A student inside another network as a record: which of its channels and blocks are kept. From it, it is rebuilt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from automl_kd.errors import ConfigError
from automl_kd.models.costs.cost import NetworkCost
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.storage.content_hash import located_path

DESCRIPTION_VERSION = 1
"""Of the description's format."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A student inside a model, as a record from which it is rebuilt.

    `model`: the super-graph, as in `build_model`. `channels`: kept indices by group; `removed`: blocks left out.
    `cost`: for one image of the shape for which it was found. `layers`: for people and drawings, one entry for each
    convolution and linear layer of the super-graph: name, stage, block, kept and total outputs, params, macs.
    `scores`: of each group's channels and, under the block's name, of each block, as they were ranked; may be empty.
    """

    model: str
    channels: Mapping[str, tuple[int, ...]]
    removed: tuple[str, ...]
    cost: NetworkCost
    layers: tuple[Mapping[str, str | int], ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def selection(self) -> Selection:
        return Selection(self.channels, frozenset(self.removed))

    @property
    def label(self) -> str:
        """What it is, for people: "resnet56 subgraph, 43 % of its channels"; a removed block has none left."""
        kept, total = (sum(int(layer[name]) for layer in self.layers) for name in ("kept", "total"))
        share = f", {round(100 * kept / total)} % of its channels" if total else ""
        return f"{self.model} subgraph{share}"

    def to_json(self) -> str:
        return json.dumps({"version": DESCRIPTION_VERSION, **asdict(self)}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Description:
        """`ConfigError` for text that is no description, or one of another version."""
        try:
            record: dict[str, Any] = json.loads(text)
            version = record.pop("version")
            if version != DESCRIPTION_VERSION:
                raise ConfigError(
                    f"this description of a student has version {version!r} and {DESCRIPTION_VERSION} was wanted; "
                    "search it again"
                )
            tuples = {name: tuple(kept) for name, kept in record.pop("channels").items()}
            scores = {name: tuple(values) for name, values in record.pop("scores").items()}
            lists = {name: tuple(record.pop(name)) for name in ("removed", "layers")}
            cost = NetworkCost(**record["cost"])
            description = Description(**{**record, **lists, "cost": cost}, channels=tuples, scores=scores)
            description.label  # noqa: B018 - refuses layers that cannot be read
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"this is no description of a student inside a model ({type(error).__name__}: {error}); "
                "give a file that the method subgraph wrote"
            ) from error
        return description


def describe_selection(
    model: str, coupling: Coupling, selection: Selection, scores: Mapping[str, tuple[float, ...]] | None = None
) -> Description:
    """The record of `selection` in the model called `model`."""
    widths = coupling.widths(selection)
    layers: list[dict[str, str | int]] = []
    for layer in coupling.layers.values():
        if layer.reads:
            gone = layer.block in selection.removed
            cost = NetworkCost(0, 0) if gone else layer.cost(widths[layer.reads], widths[layer.writes])
            kept, size = 0 if gone else widths[layer.writes], coupling.groups[layer.writes].size
            stage = layer.name.partition(".")[0]
            layers.append({"name": layer.name, "stage": stage, "block": layer.block, "kept": kept, "total": size})
            layers[-1] |= asdict(cost)
    return Description(
        model=model,
        channels=selection.channels,
        removed=tuple(sorted(selection.removed)),
        cost=coupling.cost(selection),
        layers=tuple(layers),
        scores=scores or {},
    )


def read_description(file: Path | str) -> Description:
    """The description in a file, with or without a content hash; raise `ConfigError` if there is none."""
    path = located_path(str(file))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"no description of a student could be read from {path} ({error}); give a subgraph.json that the method "
            "subgraph left"
        ) from error
    try:
        return Description.from_json(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def check_description(description: Description, coupling: Coupling) -> None:
    """Raise `ConfigError` unless the description names just the groups and blocks of `coupling`, within their sizes."""
    sizes = {group.name: group.size for group in coupling.free}
    wrong = sorted(set(sizes) ^ set(description.channels)) + sorted(set(description.removed) - set(coupling.blocks))
    for name, kept in description.channels.items():
        legal = bool(kept) and list(kept) == sorted(set(kept)) and kept[0] >= 0 and kept[-1] < sizes.get(name, 0)
        wrong += [] if legal else [name]
    if wrong:
        raise ConfigError(
            f"a description of a student does not fit model {description.model!r}: {wrong[0]!r} is missing, unknown "
            "or out of range; give the file that was written for this model"
        )
