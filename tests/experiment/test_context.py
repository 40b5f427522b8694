"""What is refused before anything is written or trained, each in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from automl_kd.config import Budget, Finalists, Resources, SearchSection
from automl_kd.errors import CheckpointError, ConfigError, DataError, InfeasibleArchitectureError, UnknownNameError
from automl_kd.experiment.context import OBJECTIVES, ExperimentContext, Roots
from automl_kd.experiment.cost_estimates import estimate_epoch_macs
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, TeacherSpec, teacher_trial
from tests import tiny
from tests.data.text.words import write_set, write_tokenizer


def opened(root: Path, **changes) -> ExperimentContext:
    return prepare_experiment(tiny.experiment(**changes), Roots(results=root / "results", data=root), Silent())


def searching(**changes) -> SearchSection:
    return dataclasses.replace(tiny.SEARCH, **changes)


# Width 2 has 18 + 4 + 9 = 31 parameters and 64 x 18 + 6 = 1158 multiply-adds, width 4 has 59 and 2316.
@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"budget": Budget(params=30)},
            ConfigError,
            "none of 500 architectures of 'tiny' meets the budget: params <= 30, where the least is 31 parameters; "
            r"raise \[budget\] or widen the space",
        ),
        (
            {"budget": Budget(params=58, macs=2000), "finalists": Finalists(baseline={"width": 4})},
            ConfigError,
            r"the baseline student width 4 has 59 parameters and 2,316 multiply-adds, over the budget \(params <= 58, "
            r"macs <= 2,000\); raise \[budget\] or name a smaller finalists.baseline",
        ),
        (
            {"finalists": Finalists(baseline={"width": 99})},
            InfeasibleArchitectureError,
            "width = 99 lies outside .* of space 'tiny'",
        ),
        (
            {"search": searching(objectives=("val_accuracy", "test_accuracy"))},
            ConfigError,
            "search.objectives: 'test_accuracy' cannot be followed; did you mean 'val_accuracy'?",
        ),
        (
            {"search": searching(objectives=("val_accuracy", "-test_accuracy_best"))},
            ConfigError,
            "search.objectives: '-test_accuracy_best' cannot be followed; .*",
        ),
        ({"method": "kdd"}, UnknownNameError, "no method is called 'kdd'; did you mean 'kd'?"),
        (
            {"method": "kd", "options": {"weight": 2.0}},
            ConfigError,
            r"options of method 'kd': weight must lie in \[0, 1\], got 2.0",
        ),
        (
            {"space": "tests.tiny:SHAPE"},
            ConfigError,
            "'tests.tiny:SHAPE' is of type InputShape; name a SearchSpace.*",
        ),
        ({"data": DataSpec(name="digit")}, UnknownNameError, "no dataset is called 'digit'; did you mean 'digits'?"),
        ({"data": DataSpec(name="arrays:none.npz")}, DataError, "no file .*none.npz; give the path of an .npz file .*"),
        (
            {"teacher": TeacherSpec(model="resnet55")},
            UnknownNameError,
            "no model is called 'resnet55'; did you mean .*",
        ),
        (
            {"teacher": TeacherSpec(checkpoint="none.pt")},
            CheckpointError,
            r"checkpoint file .*none.pt cannot be read \(No such file or directory\); check the path",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_and_leaves_nothing(tmp_path, changes, error, sentence):
    with pytest.raises(error, match=f"^{sentence.replace('?', '[?]')}$"):
        opened(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_a_teacher_for_other_classes_is_refused_in_one_sentence(tmp_path):
    file = tmp_path / "ten.pt"
    save_weights(tiny.teacher(dataclasses.replace(tiny.SHAPE, classes=10)), file)
    with pytest.raises(
        CheckpointError, match=f"^checkpoint {file} has 10 classes, the data has 3; say by teacher.classes"
    ):
        opened(tmp_path, teacher=TeacherSpec(model="tests.tiny:teacher", checkpoint=str(file)))


def test_a_teacher_of_another_shape_is_refused_by_the_keys_that_differ(tmp_path):
    file = tmp_path / "student.pt"
    save_weights(tiny.teacher(tiny.SHAPE), file)
    with pytest.raises(CheckpointError, match=r"is of another network: \d+ keys missing \("):
        opened(tmp_path, teacher=TeacherSpec(model="resnet8", checkpoint=str(file)))


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def filed(root: Path, **content) -> TeacherSpec:
    """A teacher in a file, under the key `model`, beside whatever else is given."""
    torch.save({"model": tiny.teacher(tiny.SHAPE).state_dict(), **content}, root / "teacher.pt")
    return TeacherSpec(model="tests.tiny:teacher", checkpoint=str(root / "teacher.pt"))


def test_what_was_unwrapped_of_a_teachers_file_is_told(tmp_path):
    watcher = Notes()
    experiment = tiny.experiment(teacher=filed(tmp_path, epoch=3))
    prepare_experiment(experiment, Roots(results=tmp_path / "results", data=tmp_path), watcher)
    assert watcher.notes == [f"{tmp_path / 'teacher.pt'}: the weights are 'model'"]


def test_weights_that_are_not_there_are_refused(tmp_path):
    teacher = dataclasses.replace(filed(tmp_path), weights="ema")
    with pytest.raises(CheckpointError, match="holds no weights 'ema' for this network, only 'model'; set teacher"):
        opened(tmp_path, teacher=teacher)


def test_a_teacher_with_finite_weights_and_outputs_that_are_not_is_refused(tmp_path):
    state = tiny.teacher(tiny.SHAPE).state_dict()
    state["norm.running_var"].fill_(-1.0)
    torch.save(state, tmp_path / "teacher.pt")
    teacher = TeacherSpec(model="tests.tiny:teacher", checkpoint=str(tmp_path / "teacher.pt"))
    with pytest.raises(CheckpointError, match="has finite weights, but its outputs on validation images are"):
        opened(tmp_path, teacher=teacher)


def test_a_method_that_only_measures_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'from-file' trains no student"):
        opened(tmp_path, method="from-file")


def test_a_budget_is_met_up_to_its_limit(tmp_path):
    context = opened(tmp_path, budget=Budget(params=59, macs=2316))
    inside = [width for width in range(2, 16) if context.within_budget(Architecture.of({"width": width}))]
    assert inside == [2, 3, 4]


def test_parameters_of_embeddings_are_free_under_a_limit_of_the_others(tmp_path):
    table = write_set(tmp_path / "set")
    data = DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"))
    texts = {"space": "search_spaces.bert:SPACE", "data": data, "finalists": Finalists()}
    encoder = TeacherSpec(model="tests.methods.test_texts:teacher")
    context = opened(tmp_path, **texts, teacher=encoder)
    one = Architecture.of({"layers": 1, "width": 96, "heads": 3, "mlp": 1.0, "embedding": 64, "start": "fresh"})
    words = 64 * 96 + 96  # the layer that widens them, and a norm below
    # attention has 4 squares of the width, the perceptron 2; 6 rows of biases, 3 norms, a classifier of 3
    expected = words + 6 * 96 * 96 + 6 * 96 + 2 * 2 * 96 + 96 + 3 * 96 + 3
    assert context.non_embedding_params(one) == expected
    assert context.cost(one).params == expected + 44 * 64 + (512 + 2) * 96  # words, positions, segments
    for limit, met in ((expected, True), (expected - 1, False)):
        limited = dataclasses.replace(context.experiment, budget=Budget(non_embedding_params=limit))
        assert dataclasses.replace(context, experiment=limited).within_budget(one) is met


def test_a_limit_of_parameters_beside_embeddings_that_none_meets_is_told(tmp_path):
    with pytest.raises(ConfigError, match="non_embedding_params <= 30, where the least is 31 parameters beside emb"):
        opened(tmp_path, budget=Budget(non_embedding_params=30))


@pytest.mark.parametrize(("limit", "met"), [(1e-6, False), (1e6, True)])
def test_latency_is_measured_against_its_budget(tmp_path, limit, met):
    context = dataclasses.replace(opened(tmp_path), experiment=tiny.experiment(budget=Budget(latency_ms=limit)))
    assert context.within_budget(context.baseline) is met


def test_objectives_are_read_with_their_sign(tmp_path):
    context = opened(tmp_path, search=searching(sampler="nsga2", objectives=("val_accuracy", "-params")))
    assert [str(one) for one in context.objectives] == ["val_accuracy", "-params"]
    assert not any("test" in name for name in OBJECTIVES)


def test_options_take_the_types_of_their_fields_so_that_4_and_4_0_name_the_same_trial(tmp_path):
    options = opened(tmp_path, method="kd", options={"temperature": 4}).experiment.options
    assert [(name, type(value)) for name, value in options.items()] == [("temperature", float)]


@pytest.mark.parametrize("model", ["torchvision:alexnet", "math:sqrt", "collections:OrderedDict"])
def test_a_network_that_cannot_be_built_is_one_sentence(tmp_path, model):
    sentence = "cannot be built and run on images of 1x8x8"
    with pytest.raises(ConfigError, match=f"^the teacher '{model}' {sentence}") as caught:
        opened(tmp_path, teacher=TeacherSpec(model=model))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=f"^the students of model:{model} {sentence}"):
        opened(tmp_path, space=f"model:{model}")


def test_a_teachers_file_is_known_by_what_it_holds(tmp_path, monkeypatch):
    save_weights(tiny.teacher(tiny.SHAPE), tmp_path / "teacher.pt")
    monkeypatch.chdir(tmp_path)
    teacher = opened(
        tmp_path, teacher=TeacherSpec(model="tests.tiny:teacher", checkpoint="teacher.pt")
    ).experiment.teacher
    assert teacher.checkpoint == str(tmp_path / "teacher.pt")
    assert teacher.digest == digest_file(tmp_path / "teacher.pt")


def test_the_baseline_is_the_spaces_default_or_what_is_named(tmp_path):
    assert opened(tmp_path).baseline == Architecture.of({"width": 4})
    assert opened(tmp_path, finalists=Finalists(baseline={"width": 3})).baseline == Architecture.of({"width": 3})


def test_teachers_lie_beside_experiments_and_trials_in_theirs(tmp_path):
    context = opened(tmp_path)
    lesson, trial = teacher_trial(context.experiment.teacher, context.experiment.data), tiny.spec()
    assert context.trial_paths(lesson, "cpu").trial == tmp_path / "results" / "teachers" / lesson.key
    assert context.trial_paths(trial, "cpu").trial == tmp_path / "results" / "tiny" / "trials" / trial.key
    assert context.trial_paths(trial, "cpu").teachers == tmp_path / "results" / "teachers"


def test_how_often_trials_are_saved_is_what_the_experiment_says(tmp_path):
    assert opened(tmp_path).trial_paths(tiny.spec(), "cpu").checkpoint_minutes == 5
    often = opened(tmp_path, trial=Resources(device="cpu", checkpoint_minutes=0.5))
    assert often.trial_paths(tiny.spec(), "cpu").checkpoint_minutes == 0.5


def test_a_student_that_cannot_be_built_is_named_when_its_cost_is_asked_for(tmp_path):
    context = opened(tmp_path)

    def cost(values, _shape):
        raise LookupError(f"no cost of {values['width']}\nbut this")

    broken = dataclasses.replace(context, space=dataclasses.replace(context.space, cost=cost))
    said = r"the student width=4 of tests.tiny:SPACE cannot be built and run .* \(LookupError: no cost of 4\); choose"
    with pytest.raises(ConfigError, match=said):
        broken.cost(context.baseline)


def test_a_method_that_fails_while_its_cost_is_asked_for_is_named(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError("the network reads a file that is gone")

    monkeypatch.setattr("automl_kd.experiment.cost_estimates.estimate_cost", fail)
    with pytest.raises(ConfigError, match=r"the networks of method 'scratch' cannot be built .* a file that is gone\)"):
        estimate_epoch_macs(opened(tmp_path), tiny.spec(method="scratch"))


def test_a_default_student_over_the_budget_gives_way_to_one_within_it(tmp_path):
    notes = Notes()
    roots = Roots(results=tmp_path / "results", data=tmp_path)
    context = prepare_experiment(tiny.experiment(budget=Budget(params=58)), roots, notes)
    assert context.baseline.as_dict() == {"width": 3}
    assert context.experiment.finalists.baseline == {"width": 3}  # and so it stands in the record
    assert "the default student width 4 is over the budget; width 3 stands in its place" in notes.notes
    within = opened(tmp_path / "within", budget=Budget(params=59))
    assert within.experiment.finalists.baseline == {}
    slow = dataclasses.replace(tiny.experiment(), budget=Budget(latency_ms=1e-6))
    with pytest.raises(ConfigError, match="none of 500 architectures of 'tiny' meets the budget: latency_ms"):
        prepare_experiment(slow, dataclasses.replace(roots, results=tmp_path / "slow"), notes)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["sell", "ask", "buy"], (1, 2, 0)),  # the data's stand in the order of the alphabet
        (["Ask", "BUY", "sell"], ()),
        (["LABEL_0", "LABEL_1", "LABEL_2"], ()),
        (["sell", "ask", "other"], ()),
    ],
)
def test_the_outputs_of_a_classifier_of_texts_are_matched_by_their_names(tmp_path, names, classes):
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    table = write_set(tmp_path / "set")
    config = transformers.BertConfig(
        vocab_size=44, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    write_tokenizer(tmp_path / "teacher" / "tokenizer.json")
    context = opened(
        tmp_path,
        space="search_spaces.bert:SPACE",
        data=DataSpec(name=f"text:{table}"),
        teacher=TeacherSpec(model=f"hf:{tmp_path / 'teacher'}"),
    )
    assert context.experiment.teacher.classes == classes
