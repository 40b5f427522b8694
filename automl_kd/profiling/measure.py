"""Measures graphs of ONNX on this device: python measure.py [FOLDER] [--device NAME] [--threads N].

Stands alone: it needs the packages onnxruntime and numpy, and nothing of the program that wrote it. FOLDER, by default
that of this file, holds list.json and the graphs that it names. Times go to FOLDER/measured.json; a run that was
interrupted goes on from there. Let nothing else run on the device meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

PROVIDER = "CPUExecutionProvider"
FEWEST_PASSES = 5
SAVED_EVERY_SECONDS = 5.0
ERRORS_ALONE = 3
"""Of onnxruntime's levels of logging."""


def measure_listed() -> int:
    parser = argparse.ArgumentParser(description="Measure graphs of ONNX on this device.")
    parser.add_argument("folder", nargs="?", default=str(Path(__file__).resolve().parent))
    parser.add_argument("--device", default="", help="the device in words; by default its processor")
    parser.add_argument("--threads", type=int, default=0, help="by default those of list.json")
    options = parser.parse_args()
    folder = Path(options.folder)
    plan = json.loads((folder / "list.json").read_text(encoding="utf-8"))
    threads = options.threads or int(plan["threads"])
    record = begin_record(folder / "measured.json", plan, options.device or name_processor(), threads)
    measure_all(folder, plan, record)
    return 0


def begin_record(path: Path, plan: dict[str, Any], device: str, threads: int) -> dict[str, Any]:
    """What an interrupted run of the same list with the same runtime and threads left, else nothing measured."""
    import onnxruntime  # noqa: PLC0415 - so that --help needs nothing

    facts = {
        "version": 1,
        "list": plan["id"],
        "device": device,
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
        "provider": PROVIDER,
        "threads": threads,
    }
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if {name: known.get(name) for name in facts} == facts:
        print(f"goes on with {len(known['times'])} graphs measured before", flush=True)
        return dict(known)
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - older Python
    return {**facts, "date": started, "load": system_load(), "finished": False, "times": {}}


def measure_all(folder: Path, plan: dict[str, Any], record: dict[str, Any]) -> None:
    """Every graph in each of `rounds`, of which the quickest counts: what else runs on a device makes it slower."""
    rounds, items = int(plan["rounds"]), plan["items"]
    saved, total = time.monotonic(), rounds * len(items)
    for number in range(rounds):
        for place, item in enumerate(items):
            known = record["times"].get(item["file"])
            if known is None or known["rounds"] <= number:
                found = measure_graph(
                    folder / item["file"], record["threads"], float(item["seconds"]), plan.get("sizes")
                )
                faster = known is None or found["median_ms"] < known["median_ms"]
                record["times"][item["file"]] = {**(found if faster else known), "rounds": number + 1}
            print(f"{number * len(items) + place + 1}/{total} {item['file']}", flush=True)
            if time.monotonic() - saved > SAVED_EVERY_SECONDS:
                save_record(folder, record)
                saved = time.monotonic()
    record["finished"] = True
    save_record(folder, record)


def measure_graph(path: Path, threads: int, seconds: float, sizes: dict[str, int] | None = None) -> dict[str, Any]:
    """Median and quartiles of the times of single passes, in milliseconds; a fifth of `seconds` warms up.

    `sizes`: those that the graph leaves open, by name, as "batch" and "length"; 1 where none is given.
    """
    import numpy as np  # noqa: PLC0415 - likewise
    import onnxruntime  # noqa: PLC0415 - likewise

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS_ALONE
    session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    rng = np.random.default_rng(0)
    given = {}
    for one in session.get_inputs():
        shape = [size if isinstance(size, int) else (sizes or {}).get(size, 1) for size in one.shape]
        # of tokens and masks any but padding
        whole = {"tensor(int64)": np.int64, "tensor(bool)": np.bool_}.get(one.type)
        given[one.name] = rng.random(shape, dtype=np.float32) if whole is None else np.ones(shape, dtype=whole)

    def passes(limit: float) -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + limit
        while len(times) < FEWEST_PASSES or time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, given)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    passes(seconds / 5)
    times = passes(seconds * 4 / 5)
    low, median, high = np.percentile(times, (25, 50, 75))
    return {"median_ms": float(median), "low_ms": float(low), "high_ms": float(high), "runs": len(times)}


def save_record(folder: Path, record: dict[str, Any]) -> None:
    """Whole or not at all."""
    scratch = folder / "measured.json.new"
    scratch.write_text(json.dumps(record, indent=1), encoding="utf-8")
    scratch.replace(folder / "measured.json")


def system_load() -> float:
    """Processes that ran on average in the last minute, before this one measures; 0 where it is not known."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return 0.0


def name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for key in ("model name", "Hardware", "Model"):
        for line in lines:
            if line.startswith(key) and line.partition(":")[2].strip():
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(measure_listed())
