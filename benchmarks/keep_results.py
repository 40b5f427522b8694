"""Keep what a leaderboard reads of an experiment's results: `python -m benchmarks.keep_results results/NAME OUT`.

Rows, curves, scores, the experiment and what is known of its images and finals go to `OUT/NAME`, without weights.
`--replace data/mine=data/imagenette` writes other places of files than those that the experiment ran with.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from automl_kd import files
from automl_kd.errors import ResultError
from automl_kd.methods.model_card import CARD
from automl_kd.results import ResultTable
from automl_kd.results.store.teacher_shares import SHARES_FILE
from automl_kd.results.store.text_baselines import BASELINES_FILE

TABLES = ("rows", "curves", "scores")
RECORDS = ("experiment.json", "data.json", "preflight.json", BASELINES_FILE, SHARES_FILE)


def keep_results(folder: Path, out: Path, places: Mapping[str, str]) -> Path:
    """The folder made in `out`; `ResultError` if there is one. `places`: texts, and what is written instead."""
    made = out / folder.name
    if made.exists():
        raise ResultError(f"{made} exists; remove it first, or give another folder")
    finals = ResultTable(folder).read()
    finals = finals[(finals["trial_kind"] == "final") & (finals["status"] == "complete")]
    found = [folder / name for name in RECORDS] + [folder / "trials" / key / CARD for key in finals["key"]]
    for path in [one for one in found if one.exists()]:
        text = path.read_text(encoding="utf-8")
        for place, instead in places.items():
            text = text.replace(place, instead)
        files.write(made / path.relative_to(folder), text)
    for name in TABLES:
        for path in sorted((folder / name).rglob("*.parquet")):
            kept = made / path.relative_to(folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(with_places(pq.ParquetFile(path).read(), places), kept, compression="zstd")
    ResultTable(made).fold()
    return made


def with_places(table: pa.Table, places: Mapping[str, str]) -> pa.Table:
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table.column(number)
            for place, instead in places.items():
                column = pc.replace_substring(column, pattern=place, replacement=instead)
            table = table.set_column(number, field, column)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of one experiment")
    parser.add_argument("out", type=Path, help="such as benchmarks/results")
    parser.add_argument("--replace", action="append", default=[], metavar="PLACE=INSTEAD")
    options = parser.parse_args()
    print(keep_results(options.folder, options.out, dict(one.split("=", 1) for one in options.replace)))


if __name__ == "__main__":
    main()
