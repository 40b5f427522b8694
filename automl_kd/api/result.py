"""The result of an experiment, read from its folder when it is asked for."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from automl_kd import storage
from automl_kd.api.exporting import row_of_trial, standing_of
from automl_kd.config.recipe_names import NoteSentence
from automl_kd.data import load_data
from automl_kd.errors import ResultError
from automl_kd.experiment.report_files import write_reports
from automl_kd.export import ExportOptions, Subject, export_student, student_input_of
from automl_kd.export.folder import check_packages, check_place
from automl_kd.export.subject import locate_data
from automl_kd.methods.model_card import CARD, load_trained_student
from automl_kd.results.archive.archive import read_student_archive
from automl_kd.results.archive.choice import StudentChoice, choose_student
from automl_kd.results.archive.limits import Limits
from automl_kd.results.comparison.comparison import Comparison, comparison_of, record_of
from automl_kd.results.comparison.sentences import comparison_sentences
from automl_kd.results.comparison.table import result_sheet
from automl_kd.results.published import is_stand_in, stand_in_sentence
from automl_kd.results.quantity import read_quantity
from automl_kd.results.sheet import Sheet
from automl_kd.results.statistics.interval import Estimate
from automl_kd.results.store.folder import of_this_comparison
from automl_kd.results.store.scores import read_scores
from automl_kd.results.store.table import read_results
from automl_kd.results.verdict.distillation_table import trainings_sheet
from automl_kd.results.verdict.gain import Verdict, judge_search
from automl_kd.results.verdict.readings import ReadingTable, rows_in
from automl_kd.results.verdict.table import verdict_table
from automl_kd.spec import TrialSpec

MADE_BY = "automl_kd in Python"
"""What pages name as what made them, in place of a command."""


@dataclass(frozen=True)
class StatedVerdict:
    """`sentence`: what was found, at what is equal. `numbers`: differences in test accuracy, as fractions, with their
    95 % interval. `readings`: differences from each baseline, or of each method from the reference, by its title and by
    what is equal: "compute", "shared-teacher", "epochs".

    Of a search and of `distill`: "search", "architecture" and "teaching", the gains of the whole, of the student alone
    and of the teaching. Of a comparison: each method against the reference. Each has n (seeds), mean, std, half_width,
    low and high; nan where n is too small for it. `details`: all that was judged.
    """

    sentence: str
    numbers: Mapping[str, Estimate]
    details: Verdict | Comparison
    readings: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence


def gains_by_reading(readings: ReadingTable) -> dict[str, dict[str, Estimate]]:
    return {title: {reading: one.gain for reading, one in found.items()} for title, found in readings.items()}


@dataclass(frozen=True, eq=False)
class BestStudent:
    """The student to take, of the seed that is best on validation. `key`: of its trial. `folder`: of its files."""

    key: str
    folder: Path
    row: Mapping[str, Any]
    data_root: Path

    @cached_property
    def student(self) -> nn.Module:
        """On the processor and in evaluation mode. It takes what `preprocess` returns, and returns logits."""
        return load_trained_student(self.folder, trusted=True)  # of a run of this program's user

    @cached_property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """Turns a PIL image, a batch of uint8 or texts into what the student takes. Reads the data set once."""
        spec = locate_data(TrialSpec.from_json(self.row["spec_json"]).data, self.folder)
        return student_input_of(spec, load_data(spec, self.data_root), self.student)

    def export(
        self,
        out: Path | str,
        *,
        onnx: bool = True,
        pt2: bool = True,
        int8: bool = False,
        preprocessing: bool = False,
        max_int8_loss: float = 2.0,
        say: NoteSentence = lambda _what: None,
    ) -> Path:
        """Write the student to the new folder `out`, to be handed on, and return its path: weights, graphs, labels,
        preprocessing, a model card, and how the graphs compare with the student on validation images.

        `onnx`, `pt2`, `int8`: which graphs. `preprocessing`: they take uint8 (batch, height, width, channels) and
        return probabilities, in place of normalised images and logits. `max_int8_loss`: points of accuracy that the
        graph in eight bits may lose. `say`: is told what is being done.
        `ExportError` if a graph cannot be made or does other than the student; nothing is written then.
        """
        options = ExportOptions(onnx=onnx, pt2=pt2, int8=int8, preprocessing=preprocessing, max_int8_loss=max_int8_loss)
        return self.export_as(out, options, say, trusted=True)

    def export_as(
        self, out: Path | str, options: ExportOptions, say: NoteSentence, *, trusted: bool, data: str = ""
    ) -> Path:
        """As `export`. `trusted`: as of `load_student`. `data`: where the data lie now, if not where they were read."""
        place = Path(out).absolute()
        check_place(place)
        check_packages(options)
        say("reading student and images")
        standing = standing_of(Result(self.folder.parent.parent, self.data_root))
        subject = Subject.load(
            self.folder, self.data_root, row=self.row, standing=standing, trusted=trusted, place=data
        )
        return export_student(subject, place, options, say)


def find_trained_student(place: Path, data_root: Path) -> BestStudent:
    """The student of a trial, whose folder is trials/<key> of an experiment, or the best one of an experiment."""
    storage.pull(place)
    if (place / CARD).exists():
        row = row_of_trial(Result(place.parent.parent, data_root), place.name)
        return BestStudent(place.name, place, row, data_root)
    return Result(place, data_root).best


@dataclass(frozen=True, eq=False)
class Result:
    """What an experiment came to. `folder`: holds all of it; `data_root`: where stored image sets lie."""

    folder: Path
    data_root: Path = Path("data")

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row for each trial: what it is, what it cost and how accurate its student is, as fractions."""
        return read_results(self.folder).rows

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row for each epoch of each trial."""
        return read_results(self.folder).curves

    @cached_property
    def verdict(self) -> StatedVerdict:
        """The sentence, and its numbers; of a stand-in, that it has none."""
        judged = self._judged
        tried = stand_in_sentence(record_of(self.folder))
        return StatedVerdict(tried, {}, judged.details, {}) if tried else judged

    @cached_property
    def _judged(self) -> StatedVerdict:
        """The verdict by the rows, whatever their images stand for."""
        rows = self.final_rows
        compared = comparison_of(self.folder, rows)
        if compared is None:
            judged = judge_search(rows, scores=read_scores(self.folder), record=record_of(self.folder))
            return StatedVerdict(judged.sentence, judged.gains, judged, gains_by_reading(judged.readings))
        numbers = {one.title: one.difference for one in compared.entries if one.finding != "reference"}
        sentence = " ".join(comparison_sentences(compared))
        return StatedVerdict(sentence, numbers, compared, gains_by_reading(compared.readings))

    @property
    def final_rows(self) -> pd.DataFrame:
        return of_this_comparison(self.folder, self.rows)

    @cached_property
    def best(self) -> BestStudent:
        """The found student; of a comparison, that of the entry with the best mean on validation at full compute.

        `ResultError` if no final trial is complete.
        """
        if isinstance(self.verdict.details, Verdict):
            return self.best_of("found-method")
        best = self.verdict.details.best
        return self.best_of(best.compared_method.name if best else "")

    @property
    def complete_finals(self) -> pd.DataFrame:
        """Of the reading that decides the verdict; of a comparison each method's best options at full compute."""
        rows, judged = self.final_rows, self.verdict.details
        finals = rows_in(rows[rows["trial_kind"] == "final"], judged.reading)
        finals = finals[finals["status"] == "complete"]
        return judged.rows_of_standing(finals) if isinstance(judged, Comparison) else finals

    def best_of(self, role: str) -> BestStudent:
        """The student of one role of the finals, of the seed that is best on validation. `ResultError` without one."""
        finals = self.complete_finals
        finals = finals[finals["role"] == role]
        if finals.empty:
            raise ResultError(
                f"{self.folder} has no complete final trial; run the experiment again, which continues it"
            )
        row = finals.sort_values(["val_accuracy", "seed"], ascending=[False, True]).iloc[0]
        values = {str(name): value for name, value in row.items()}
        return BestStudent(values["key"], self.folder / "trials" / values["key"], values, self.data_root)

    def pick(
        self,
        *,
        max_params: str | float | None = None,
        max_macs: str | float | None = None,
        max_latency: str | float | None = None,
        max_size: str | float | None = None,
        device: str = "",
    ) -> StudentChoice:
        """The student to take under other limits, from all that were trained or scored here, without a new search.

        Limits are numbers, or texts as of the command line: "2M", "20M", "5ms", "0.5MB"; numbers are of parameters,
        multiply-adds, milliseconds and megabytes. `device`: whose latencies count, where several measured. Its
        `best.trial` is the folder of the student to take, for `load_student`; `best` is None if only scored ones keep
        the limits, of which `missing` names the first.
        `ResultError` if none keeps the limits.
        """
        limits = Limits(
            params=None if max_params is None else read_quantity(max_params, "params"),
            macs=None if max_macs is None else read_quantity(max_macs, "macs"),
            latency_ms=None if max_latency is None else read_quantity(max_latency, "ms"),
            size_mb=None if max_size is None else read_quantity(max_size, "MB"),
        )
        return choose_student(read_student_archive([self.folder], device), limits)

    @property
    def table(self) -> Sheet:
        """The compared students, for people."""
        judged = self.verdict.details
        if isinstance(judged, Comparison):
            return result_sheet(judged)
        return trainings_sheet(judged, self.final_rows) if judged.distilled else verdict_table(judged)

    def report(self, folder: Path | str) -> list[Path]:
        """Write `leaderboard.html` and `leaderboard.md` to `folder`, which is made, and return their paths."""
        return write_reports({self.folder: self.final_rows}, storage.local_path(folder).absolute(), MADE_BY)

    def __repr__(self) -> str:
        return f"Result({str(self.folder)!r}): {self.verdict.sentence}"

    def _repr_html_(self) -> str:
        """For notebooks: the verdict and the table of what was compared."""
        table = Sheet((), ()) if is_stand_in(record_of(self.folder)) else self.table
        head = "".join(f"<th>{html.escape(column.name)}</th>" for column in table.columns)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
        where = html.escape(storage.name_addresses(str(self.folder)))
        return f"<p>{html.escape(self.verdict.sentence)}</p><table><tr>{head}</tr>{body}</table><p>{where}</p>"
