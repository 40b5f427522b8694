"""Every mistake in what a method is given ends in one sentence and exit code 2, before a teacher is trained for it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import automl_kd.experiment
from automl_kd.losses.learned.file import LearnedLoss, save_learned
from automl_kd.losses.learned.loss import LossLayout
from automl_kd.losses.learned.start import initial_phi
from automl_kd.methods.distpro.process import Process, save_process
from automl_kd.methods.distpro.search import DistProSearch
from automl_kd.models import build_model
from automl_kd.models.features import FeatureLayer
from automl_kd.models.pruning.description import describe_selection
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import InputShape

DIGITS = InputShape(channels=1, height=8, width=8, classes=10)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    """Whatever gets as far as Ray was not refused."""

    def session(address="", resources=None):
        raise AssertionError("Ray would have been started")

    monkeypatch.setattr(automl_kd.experiment, "session", session)


@pytest.fixture
def distill(refused):
    """Refused: teaching a ResNet-8 by `method` with these options, written as in an experiment file."""

    def check(method: str, *options: str, teacher: str = "resnet14", student: str = "resnet8") -> str:
        settings = (word for option in options for word in ("--set", f"options.{option}"))
        said: str = refused("distill", "--student", student, "--teacher", teacher, "--method", method, *settings)
        return said

    return check


def test_losses_of_one_label_refuse_mixed_images(refused):
    settings = ("--set", "options.losses=dkd", "--set", "recipe.mixup=0.2")
    said = refused("distill", "--student", "resnet8", "--teacher", "resnet14", "--method", "weighted_losses", *settings)
    assert said == (
        "loss 'dkd' needs one label for each image, and recipe.mixup mixes images; set recipe.mixup = 0 and "
        "recipe.cutmix = 0, or leave it out"
    )


class Tokens(nn.Module):
    """A network with a tap whose features are (batch, tokens, channels): neither map nor vector."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, shape.classes)
        self.feature_layers = {"tokens": FeatureLayer("norm")}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.norm(images[:, 0]).mean(1))
        return logits


TOKENS = "tests.cli.test_refused_methods:Tokens"


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("kd", ["weight=1.5"], "options of method 'kd': weight must lie in [0, 1], got 1.5"),
        ("kd", ["temperature=0"], "options of method 'kd': temperature must be above 0, got 0"),
        ("scratch", ["weight=1"], "options of method 'scratch': unknown key 'weight'; there are none to set"),
        ("weighted_losses", ["losses='kd=-1'"], "losses: kd must be a weight >= 0, got -1.0"),
        (
            "weighted_losses",
            ["losses='kd, kd.temperature=0'"],
            "options of loss 'kd': temperature must be above 0, got 0",
        ),
        ("weighted_losses", ["losses='kdd'"], "no loss is called 'kdd'; did you mean 'kd'?"),
        (
            "weighted_losses",
            ["losses='kd, at.power=2'"],
            "losses: 'at' has an option but is not in the sum; add it, or drop",
        ),
        (
            "weighted_losses",
            ["losses='kd=0, ce=0'"],
            "losses: every weight in 'kd=0, ce=0' is 0; give one loss a weight",
        ),
        (
            "weighted_losses",
            ["losses='kd, kd.start=0.9, ce=0'"],
            "losses: none counts in epoch 1 of 30; let one start earlier",
        ),
        ("prokt", ["weight=2"], "options of method 'prokt': weight must lie in [0, 1], got 2"),
        ("prokt", ["losses='dkdd'"], "no loss is called 'dkdd'; did you mean 'dkd'?"),
        ("prokt", ["zero_heads=true"], "zero_heads would undo a fine-tuned teacher; set start to"),
        ("lkd", ["held_out=1"], "options of method 'lkd': held_out must lie between 0 and 1, got 1"),
        ("lkd", ["form='free'", "anchor=1"], "anchor holds weights to 1 and the free form has none; set anchor = 0"),
        ("lkd", ["weight=0"], "weight is 0 and no stages are named; give the learned loss one of them"),
        ("lkd", ["mode='retain'"], "mode = \"retain\" does not fit; it should be 'joint', 'retrain' or"),
        ("distpro_search", ["interval=0"], "options of method 'distpro_search': interval must be 1 or more, got 0"),
        ("distpro_search", ["transforms='simple'"], "no transform is called 'simple'; did you mean 'complex'?"),
        ("distpro_search", ["connect='lowest'"], "no set of pathways is called 'lowest'; did you mean 'lower'?"),
        ("distpro_search", ["stages='stage1:logits'"], "logits can be compared with logits only; write the stage as"),
        ("distpro", ["search=0"], "options of method 'distpro': search must lie above 0 and not above 1, got 0"),
        ("distpro", ["replay='last'"], "replay must be process, final or equal, got 'last'"),
        ("distpro", ["style='scale'"], "no style of weights is called 'scale'; did you mean 'scaled'?"),
        ("distpro", ["clip=2"], "clip = 2 lies above 0.917, the weight of every pathway at the start in style"),
        ("subgraph", ["floor=0"], "options of method 'subgraph': floor must lie in (0, 1], got 0"),
        ("subgraph", ["choose='best'"], "choose = \"best\" does not fit; it should be 'search', 'uniform',"),
        ("subgraph", ["multiples='1;2'"], "multiples are numbers such as '1, 0.5', got '1;2'"),
        ("subgraph", ["weights='random'"], 'have no statistics to keep; set remedy = "mean" or "max"'),
        ("subgraph", ["granularity='filter'"], "granularity joins some of channel, block, stage by '+', got 'filter'"),
    ],
)
def test_options_out_of_range_or_at_odds(distill, method, options, sentence):
    assert sentence in distill(method, *options)


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("weighted_losses", "losses='at, at.stages={}'"),
        ("prokt", "losses='kd, at, at.stages={}'"),
        ("lkd", "stages='{}'"),
        ("distpro_search", "stages='{}'"),
        ("distpro", "stages='{}'"),
    ],
)
def test_a_tap_that_does_not_exist(distill, method, option):
    wrong = "no feature layer or module is called 'stage9' in this network; did you mean 'stage"
    assert distill(method, option.format("stage1+stage9")).startswith(f"the student: {wrong}")
    assert distill(method, option.format("stage1:stage9")).startswith(f"the teacher: {wrong}")


@pytest.mark.parametrize("method", ["distpro_search", "distpro"])
def test_a_pathway_between_features_that_no_connector_joins(distill, method):
    said = distill(method, "stages='stage1:tokens'", teacher=TOKENS)
    assert said.startswith("pathway tokens -> stage1 (shared) needs a map (batch, channels, height, width) or a vector")
    assert said.endswith("the teacher's feature layer gives (4, 8, 8); choose another feature layer")


@pytest.mark.parametrize(
    ("method", "option"), [("weighted_losses", "losses='at, at.stages=pooled'"), ("lkd", "stages='pooled'")]
)
def test_a_loss_of_maps_at_a_vector(distill, method, option):
    said = distill(method, option)
    assert (
        "compares maps (batch, channels, height, width) and feature layer 'pooled' of the student gives (4, 64)" in said
    )


PROCESS = Process(
    pathways=tuple((one.teacher, one.student, one.transform) for one in DistProSearch().pathways),
    style="scaled",
    kd=1.0,
    steps=2,
    axis=(0.0, 1.0),
    alpha=((0.0,) * 11,) * 2,
)


def test_a_process_that_does_not_fit(distill):
    save_process(replace(PROCESS, pathways=PROCESS.pathways[:9], alpha=((0.0,) * 9,) * 2), Path("short.json"))
    said = distill("distpro", "process='short.json'")
    assert said.startswith("the process was found for other pathways (9) than this trial's (11): it lacks stage3.pre")
    save_process(replace(PROCESS, style="absolute"), Path("weak.json"))
    assert "ever weighs 0.5 or more; lower clip" in distill("distpro", "process='weak.json'")
    Path("old.json").write_text(json.dumps({**asdict(PROCESS), "version": 0}))
    assert "old.json: version 0 is not 1; search again with this release" in distill("distpro", "process='old.json'")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "process.json: it is not JSON: Expecting property name"),
        ("[]", "holds a list, not a process; give what a search left"),
        ("{}", "is missing; add it"),
        (json.dumps({**asdict(PROCESS), "alpha": "up"}), 'alpha = "up" does not fit; it should be a valid array'),
        (json.dumps({**asdict(PROCESS), "axis": [1.0, 0.0]}), "axis must rise within [0, 1]"),
    ],
)
def test_a_file_that_is_no_process(distill, content, sentence):
    Path("process.json").write_text(content)
    assert sentence in distill("distpro", "process='process.json'")


@pytest.mark.parametrize(("method", "option"), [("distpro", "process"), ("lkd", "loss")])
def test_a_file_that_is_not_there(distill, tmp_path, method, option):
    sentence = (
        f"option {option}: no file could be read from {tmp_path}/no.file: No such file or directory; check the path"
    )
    assert distill(method, f"{option}='no.file'") == sentence
    assert distill(method, f"{option}='.'").endswith(f"from {tmp_path}: it is a folder, not a file; check the path")
    Path("was.json").write_text("{}")
    pinned = f"{tmp_path}/was.json@sha256-{'0' * 64}"
    assert f"{tmp_path}/was.json has changed since it was named" in distill(method, f"{option}='{pinned}'")


@pytest.fixture
def learned() -> Path:
    """A learned loss for logits alone, at the path that is returned."""
    phi = initial_phi(LossLayout(), 4.0, seed=0)
    save_learned(LearnedLoss(LossLayout(), 4.0, phi, [phi]), Path("loss.pt"))
    return Path("loss.pt")


@pytest.mark.parametrize("mode", ["joint", "retrain", "two_stage_dynamic"])
def test_a_learned_loss_that_does_not_fit(distill, learned, tmp_path, mode):
    given = (f"mode='{mode}'", "loss='loss.pt'")
    said = distill("lkd", *given, "form='free'")
    assert said.startswith(f"{tmp_path}/loss.pt is a learned loss with form = weighted, label = True, logits = True")
    assert said.endswith("make form, label, weight and stages agree with it")
    assert "pairs = 1; make form" in distill("lkd", *given, "stages='stage1'")
    torch.save({**torch.load(learned), "version": 7}, learned)
    assert "is a learned loss of version 7, wanted is version 1; learn it again" in distill("lkd", *given)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"phi": {}}, "lacks weights of its own loss networks; learn it again"),
        ({"phi": 5}, "is not a learned loss; give the path of a learned_loss.pt that lkd has written"),
        ({"course": []}, "is not a learned loss; give the path of a learned_loss.pt that lkd has written"),
        ({"layout": "weighted"}, "is not a learned loss; give the path of a learned_loss.pt that lkd has written"),
        ({"layout": {}}, "is not a learned loss; give the path of a learned_loss.pt that lkd has written"),
        ({"temperature": "hot"}, "is not a learned loss; give the path of a learned_loss.pt that lkd has written"),
    ],
)
def test_a_damaged_learned_loss(distill, learned, change, sentence):
    torch.save({**torch.load(learned), **change}, learned)
    assert sentence in distill("lkd", "loss='loss.pt'")


def test_a_file_that_is_no_learned_loss(distill):
    Path("loss.pt").write_text("not from torch")
    assert "loss.pt cannot be read (UnpicklingError); learn it again" in distill("lkd", "loss='loss.pt'")
    torch.save(build_model("resnet8", DIGITS).state_dict(), "loss.pt")
    assert "loss.pt is not a learned loss; give the path of" in distill("lkd", "loss='loss.pt'")


def test_a_budget_below_the_minimum_width(distill):
    said = distill("subgraph", "params_limit=1000")
    assert said.startswith("a budget of 1000 params lies below the ")
    assert said.endswith(
        "of the smallest subgraph of 'resnet14'; raise the budget, or lower the minimum width with floor and divisor"
    )
    least = int(said.removeprefix("a budget of 1000 params lies below the ").partition(" ")[0])
    assert f"a budget of {least - 1} params" in distill("subgraph", f"params_limit={least - 1}")
    assert f"a budget of {least // 2} params" in distill("subgraph", f"params_limit={least}", "multiples='1, 0.5'")
    assert "a budget of 10 macs lies below the" in distill("subgraph", "macs_limit=10")


def test_a_latency_that_no_subgraph_reaches(distill):
    said = distill("subgraph", "latency_limit_ms=0.0001")
    assert said.startswith("a budget of 0.0001 ms lies below the ")
    assert said.endswith(
        "of the smallest subgraph; raise the budget, or lower the minimum width with floor and divisor"
    )


@pytest.mark.parametrize("reference", ["os:path", "builtins:dict", "json:dumps", "automl_kd.spec:Recipe"])
def test_a_reference_to_what_is_no_method_or_no_loss(distill, reference):
    assert distill(reference).startswith(f"'{reference}' is no method, since it ")
    for method in ("weighted_losses", "prokt"):
        assert f"'{reference}' is no loss, since it " in distill(method, f"losses='{reference}'")


def test_a_teacher_in_which_nothing_can_be_searched(distill):
    assert "cannot be traced" in distill("subgraph", teacher="tests.cli.test_refused_methods:moody")


def moody(shape: InputShape) -> nn.Module:
    class Moody(nn.Module):
        """Its path depends on the image, which no graph shows."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(shape.height * shape.width, shape.classes)

        def forward(self, images: Tensor) -> Tensor:
            flat = images.flatten(1)
            logits: Tensor = self.fc(flat if flat.sum() > 0 else -flat)
            return logits

    return Moody()


def test_a_description_of_a_student_that_is_none(distill, tmp_path):
    assert f"no file could be read from {tmp_path}/no.json" in distill("kd", student="subgraph:no.json")
    Path("found.json").write_text("{}")
    assert "found.json: this is no description of a student inside a model" in distill(
        "kd", student="subgraph:found.json"
    )
    coupling = trace(build_model("resnet8", DIGITS), DIGITS)
    Path("found.json").write_text(describe_selection("resnet14", coupling, coupling.whole).to_json())
    assert "does not fit model 'resnet14': 'stage1.1.body.0' is missing" in distill("kd", student="subgraph:found.json")
    assert "does not fit model" in distill("kd", teacher="subgraph:found.json")
