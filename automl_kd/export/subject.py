"""What is exported: a trained student with the images that it is tried on, and what is known of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd import storage
from automl_kd.data import Dataset, LoadProgress, Split, digest_dataset, load_data, plain_view, resolve_path
from automl_kd.data.load_progress import ignore_progress
from automl_kd.errors import DataError
from automl_kd.export.student_input import StudentInput
from automl_kd.export.text_input import TextInput
from automl_kd.methods.model_card import load_trained_student, read_card, student_label
from automl_kd.models.input_adapter import resize_batch
from automl_kd.models.text.positions import position_limit
from automl_kd.results.store.folder import read_experiment_record
from automl_kd.results.units import missing
from automl_kd.space import TextShape
from automl_kd.spec import DataSpec, TrialSpec
from automl_kd.storage.content_hash import by_content, located_path


@dataclass(frozen=True)
class ComparisonText:
    """How the student stands in its experiment, in words: the verdict, a Markdown table and what the search cost."""

    sentence: str = ""
    table: str = ""
    cost: str = ""


def student_input_of(spec: DataSpec, dataset: Dataset, student: nn.Module) -> StudentInput | TextInput:
    """What makes the student's inputs, for those who have no data set. Texts may be longer than those of the data."""
    if not isinstance(shape := dataset.student_shape, TextShape):
        return StudentInput.of(spec, dataset)
    longest = min(spec.max_length, position_limit(student) or spec.max_length)
    return TextInput(replace(shape, longest=longest), located_path(spec.tokenizer), longest)


def locate_data(spec: DataSpec, trial: Path, place: str = "") -> DataSpec:
    """The data of the trial in the folder `trial` where they lie now: at `place`, such as "folder:PATH", or where the
    last session of its experiment read the same; else where they lay in training.
    """
    experiment = trial.parent.parent
    if spec.digest and (experiment / "experiment.json").exists():
        known = read_experiment_record(experiment).get("data", {})
        if known.get("digest") == spec.digest:
            spec = replace(spec, name=known["name"], unlabelled=known.get("unlabelled", ""))
        changes: dict[str, Any] = {
            name: known[name]
            for name in ("tokenizer", "transform")
            if by_content(str(known.get(name, ""))) == by_content(getattr(spec, name)) != ""
        }
        spec = replace(spec, **changes)
    return replace(spec, name=resolve_path(DataSpec(name=place)).name) if place else spec


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """`folder`: of the trial. `row`: its row of results, empty where there is none."""

    folder: Path
    spec: TrialSpec
    student: nn.Module
    dataset: Dataset
    row: Mapping[str, Any] = field(default_factory=dict)
    standing: ComparisonText = field(default_factory=ComparisonText)

    @staticmethod
    def load(
        folder: Path,
        data_root: Path,
        *,
        row: Mapping[str, Any],
        standing: ComparisonText,
        trusted: bool = False,
        notify: LoadProgress = ignore_progress,
        place: str = "",
    ) -> Subject:
        """The student of the finished trial in `folder`; `DataError` if its images are not those of its training.

        `trusted`: as of `load_trained_student`. `notify`: as of `load_data`. `place`: as of `locate_data`.
        """
        student = load_trained_student(folder, trusted=trusted)
        spec, _ = read_card(storage.local_path(folder))
        spec = replace(spec, data=locate_data(spec.data, storage.local_path(folder), place))
        dataset = load_data(spec.data, data_root, notify=notify)
        if spec.data.digest and digest_dataset(dataset) != spec.data.digest:
            if place:
                raise DataError(f"{place} holds other data than {folder.name} was trained on; give the place of those")
            raise DataError(
                f"the images of {spec.data.name} have changed since {folder.name} was trained, so nothing can be "
                "compared on them; bring them back"
            )
        known = {name: value for name, value in row.items() if isinstance(value, str) or not missing(value)}
        return Subject(folder=folder, spec=spec, student=student, dataset=dataset, row=known, standing=standing)

    @property
    def input(self) -> StudentInput | TextInput:
        return student_input_of(self.spec.data, self.dataset, self.student)

    @property
    def image_input(self) -> StudentInput:
        given = self.input
        assert isinstance(given, StudentInput)  # the caller knows
        return given

    @property
    def name(self) -> str:
        """Of the student, for people."""
        return str(self.row.get("student") or student_label(self.spec, self.folder))

    def validation_images(self, rows: Tensor) -> Tensor:
        """float32 (n, channels, height, width): what the student is given of the validation images at `rows`."""
        return self.as_given(self.dataset.validation, rows)

    def training_images(self, count: int) -> Tensor:
        """The same of so many training images, evenly spaced."""
        split = self.dataset.train
        rows = torch.linspace(0, len(split) - 1, min(count, len(split))).round().long()
        return self.as_given(split, rows)

    def as_given(self, split: Split, rows: Tensor) -> Tensor:
        """On the processor, wherever the images of `split` are."""
        views = plain_view(self.dataset, split, rows.to(split.row_device)).cpu()
        return self.resize_views(views)

    def resize_views(self, views: Tensor) -> Tensor:
        """What the student takes of `views`, which a larger teacher may need larger."""
        given = self.input
        return resize_batch(views, given.shape.height) if isinstance(given, StudentInput) and given.fit.size else views

    def as_bytes(self, images: Tensor) -> Tensor:
        """uint8 (n, height, width, channels): the nearest bytes of what the student is given."""
        factor, shift = (torch.tensor(one)[:, None, None] for one in self.image_input.scales)
        return ((images + shift) / factor).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
