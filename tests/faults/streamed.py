"""Kill a trial that streams its images, and the process that decodes for it, and compare it with an unbroken one."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from tests import tiny
from tests.conformance.trials import difference, left_by
from tests.data.encoded import forms
from tests.faults.session import kill, until
from tests.faults.streamed_trial import CHECKPOINT_SECONDS, StreamedTrial
from tests.training.streamed_batches import RECIPE, photographs, spec_of

SLACK_SECONDS = 1.5
"""What a step and the writing of a checkpoint may take longer than is foreseen, on a machine that has other work."""

LONGEST_SECONDS = 300.0
TARGETS = ("trial", "decoder")


@dataclass
class StreamReport:
    """What was done: `repeated`, the steps that were taken again after each kill of a trial, and `wrong`."""

    kills: Counter[str] = field(default_factory=Counter)
    repeated: list[int] = field(default_factory=list)
    repeated_seconds: list[float] = field(default_factory=list)
    trials: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{self.kills[target]} {target}" for target in TARGETS)
        return (
            f"{self.kills.total()} kills ({kills}) in {self.trials} trials; steps repeated at each kill of a trial: "
            f"{self.repeated}, at most {max(self.repeated_seconds, default=0.0):.2f} s of them for a checkpoint every "
            f"{CHECKPOINT_SECONDS} s; {len(self.wrong)} violations"
        )


def tortured(trial: StreamedTrial, rng: np.random.Generator, kills: int, report: StreamReport) -> list[int]:
    """Carry the trial out under at most `kills` kills; how many batches it had made at each that hit itself."""
    last, cuts = report.kills.total() + kills, list[int]()
    process = trial.start()
    while report.kills.total() < last and at_work(trial, process, cuts[-1] if cuts else 0):
        process.join(rng.uniform(0, 3 * CHECKPOINT_SECONDS))
        if not process.is_alive():
            break
        decoder = trial.log()[-1].decoder
        if decoder and rng.random() < 0.3:
            kill(decoder)
            report.kills["decoder"] += 1
            continue
        process.kill()
        process.join()
        report.kills["trial"] += 1
        cuts.append(len(trial.log()))
        process = trial.start()
    process.join(LONGEST_SECONDS)
    if process.exitcode != 0:
        report.wrong.append(f"the trial ended with {process.exitcode}, None for one that hangs")
    return cuts


def at_work(trial: StreamedTrial, process: BaseProcess, begun: int) -> bool:
    """Wait for a batch after the first `begun`; False if there was none, as the trial has ended or hangs."""
    until(lambda: len(trial.log()) > begun or not process.is_alive(), LONGEST_SECONDS)
    return len(trial.log()) > begun and process.is_alive()


def check_steps(trial: StreamedTrial, whole: StreamedTrial, cuts: list[int], report: StreamReport) -> None:
    """Compare each batch with the unbroken trial's, and count those that were made again after a kill.

    The batch that a process was killed with is among them, as its step may not have been taken.
    """
    expected, log = {step.place: step.digest for step in whole.log()}, trial.log()
    if len(expected) != len(whole.log()) or {step.place for step in log} != expected.keys():
        report.wrong.append("steps are missing, or the unbroken trial took one twice")
    report.wrong += [f"batch {step.place} differs" for step in log if expected.get(step.place) != step.digest]
    for begin, cut in itertools.pairwise([0, *cuts]):  # steps of one life, as those of an earlier one count at its kill
        again = [step.at for step in log[begin:cut] if cut < len(log) and step.place >= log[cut].place]
        report.repeated.append(len(again))
        report.repeated_seconds.append(max(again, default=0.0) - min(again, default=0.0))
        if report.repeated_seconds[-1] > CHECKPOINT_SECONDS + SLACK_SECONDS:
            report.wrong.append(f"after {cut} batches {report.repeated_seconds[-1]:.2f} s of steps were repeated")


def compare(trial: StreamedTrial, whole: StreamedTrial, report: StreamReport) -> None:
    if found := difference(whole.reported(), trial.reported()):
        report.wrong.append(f"the rows differ: {found}")
    left, other = (left_by(one.folder / "trial") for one in (whole, trial))
    for name in ("student.pt", "student_best.pt"):
        if found := difference(left[name], other[name]):
            report.wrong.append(f"{name} differs: {found}")


def torture_streamed(kills: int, seed: int, root: Path, *, epochs: int = 40) -> StreamReport:
    """`kills` kills in as many trials as they take, each compared with one that nobody disturbed."""
    report, rng = StreamReport(), np.random.default_rng(seed)
    data = spec_of(forms.write_shards(root / "shards", photographs(count=20)))
    while report.kills.total() < kills and not report.wrong:
        recipe = replace(RECIPE, epochs=epochs)
        spec = tiny.spec(method="scratch", data=data, recipe=recipe, seed=report.trials)
        whole, broken = (StreamedTrial(spec, root, f"{name}{report.trials}") for name in ("whole", "broken"))
        report.trials += 1
        whole.start().join(LONGEST_SECONDS)
        cuts = tortured(broken, rng, kills - report.kills.total(), report)
        check_steps(broken, whole, cuts, report)
        compare(broken, whole, report)
        print(report, flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        report = torture_streamed(arguments.kills, arguments.seed, Path(scratch))
    for line in report.wrong:
        print(f"  {line}")
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
