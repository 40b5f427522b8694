"""The file of a network: "file:/models/lite0.onnx@sha256-" and 64 hex digits, as it stands in a trial's spec.

The hash is of the file's content, and for ONNX of the files beside it that hold its weights. The path may be an address
in a bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from automl_kd import files, storage
from automl_kd.errors import ConfigError
from automl_kd.models.black_box.graph import Graph
from automl_kd.models.black_box.onnx_file import OnnxGraph, external_files
from automl_kd.models.black_box.pt2_file import ExportedGraph
from automl_kd.spec import BLACK_BOX
from automl_kd.storage.content_hash import PIN, digest_content

GRAPHS: Mapping[str, Callable[[Path], Graph]] = {".pt2": ExportedGraph, ".onnx": OnnxGraph}


def pin_graph(name: str) -> str:
    """`name`, "file:PATH", with an absolute path and the hash of its content; checked if it has one already.

    `ConfigError` for a file of another kind, or one that is not there or has changed.
    """
    pinned, given = PIN.search(name), PIN.sub("", name.removeprefix(BLACK_BOX))
    if Path(given).suffix not in GRAPHS:
        raise ConfigError(
            f"teacher.model = {name!r} names neither a .pt2 file of torch.export nor an .onnx file; give a file of "
            "weights as teacher.checkpoint"
        )
    place = given if "://" in given else str(files.expand(given).resolve())
    digest = digest_graph(place)
    if pinned and pinned[1] != digest:
        raise ConfigError(
            f"{place} has changed since it was named in this experiment; put the old content back, or run the "
            "experiment anew under another name"
        )
    return f"{BLACK_BOX}{place}@sha256-{digest}"


def digest_graph(place: str) -> str:
    """SHA-256 of the file's content, or of the digests of all its files; they are fetched, if in a bucket."""
    digests = [digest_content(path) for path in fetch(place)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def fetch(place: str) -> Iterator[Path]:
    """The local file, and those beside it that hold its weights."""
    path = storage.local_path(place)
    storage.pull_file(path)
    yield path
    if path.suffix == ".onnx" and path.is_file():
        for beside in external_files(path):
            storage.pull_file(beside)
            if not beside.is_file():
                raise ConfigError(
                    f"{path} keeps weights in {beside.name}, and no such file lies beside it; copy it there, or export "
                    "the network into one file"
                )
            yield beside


def graph_place(reference: str) -> str:
    """The path or address in "file:PATH", with or without a hash."""
    return PIN.sub("", reference.removeprefix(BLACK_BOX))


@lru_cache(maxsize=2)
def load_graph(reference: str) -> Graph:
    """The graph in the file that `reference` names with its hash; `ConfigError` if it is gone, changed or no graph."""
    if PIN.search(reference) is None:
        raise ConfigError(
            f"{reference!r} is a network in a file, which cannot be trained or drawn anew, so it can only be an "
            "experiment's teacher, as teacher.model; name another model here"
        )
    path = storage.local_path(graph_place(pin_graph(reference)))
    return GRAPHS[path.suffix](path)


def runtime_of(model: str, device: str) -> str:
    """What of the outputs of the teacher called `model` depends on the runtime beside torch; empty where nothing."""
    return load_graph(model).identify_runtime(device) if model.startswith(BLACK_BOX) else ""
