"""What a compression has decided and spent, kept in its folder, so that a later session goes on with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from automl_kd import files, storage
from automl_kd.compression.measured_speed import MeasuredSpeed
from automl_kd.compression.plan import CompressPlan, FinalsPlan
from automl_kd.compression.request import CompressRequest
from automl_kd.errors import FileError, ResultError
from automl_kd.results.store.folder import first_difference

PLAN_FILE = "_compress.json"
"""In the folder of the experiment; the underscore says that it is none of the experiment's records."""


@dataclass(kw_only=True)
class KeptPlan:
    """`file`: where it is kept. `request`: what was asked. `sections`: what was chosen, as sections of an experiment.

    `speed`, `plan`: None before it is planned. `finals`: as settled after the search, None before. `spent`: seconds of
    all sessions, by the name of the stage.
    """

    file: Path
    request: dict[str, Any]
    sections: dict[str, Any] = field(default_factory=dict)
    speed: MeasuredSpeed | None = None
    plan: CompressPlan | None = None
    finals: FinalsPlan | None = None
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(self.spent.values())

    def save(self) -> None:
        record = dataclasses.asdict(self)
        del record["file"]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        storage.write(self.file, json.dumps(record, indent=1))


def open_plan(request: CompressRequest, folder: Path) -> KeptPlan:
    """The plan that is kept in `folder`, or a new one; `ResultError` if that is of another request, or damaged."""
    file = folder / PLAN_FILE
    storage.pull_file(file)
    if not file.exists():
        return KeptPlan(file=file, request=request.to_record())
    kept = read_plan(file)
    if difference := first_difference(kept.request, request.to_record()):
        raise ResultError(
            f"{folder} holds another compression: {difference}; give this one another --name or --out, or delete it"
        )
    return kept


def read_plan(file: Path) -> KeptPlan:
    try:
        record = files.read_json(file)
        return KeptPlan(
            file=file,
            request=dict(record["request"]),
            sections=dict(record["sections"]),
            speed=read_record_of(MeasuredSpeed, record["speed"]),
            plan=plan_from(record["plan"]),
            finals=read_record_of(FinalsPlan, record["finals"]),
            spent={str(stage): float(seconds) for stage, seconds in record["spent"].items()},
        )
    except (FileError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultError(
            f"{file} cannot be read ({type(error).__name__}: {error}); delete it, and the same command plans anew"
        ) from error


def read_record_of(kind: Any, record: Mapping[str, Any] | None) -> Any:
    return None if record is None else kind(**record)


def plan_from(record: Mapping[str, Any] | None) -> CompressPlan | None:
    return None if record is None else CompressPlan(**{**record, "finals": FinalsPlan(**record["finals"])})
