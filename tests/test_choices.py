"""A record of options made in Python is checked as strictly as a file: no misspelt choice is taken for a default."""

from dataclasses import replace

import pytest

from automl_kd.config import Budget, Resources, SearchSection
from automl_kd.errors import ConfigError
from automl_kd.methods.lkd.method import LKD
from automl_kd.methods.prokt.method import ProKT
from automl_kd.methods.subgraph.method import Subgraph
from automl_kd.methods.weighted_losses import WeightedLosses
from automl_kd.spec import Recipe, TeacherCacheOptions, TeacherSpec


@pytest.mark.parametrize(
    ("kind", "field", "wrong", "sentence"),
    [
        (Recipe, "optimizer", "sdg", r"optimizer = 'sdg' is no choice; take one of .*'sgd'"),
        (Recipe, "schedule", "cosin", r"schedule = 'cosin' is no choice; take one of .*'cosine'"),
        (Recipe, "augment", "flip", "augment = 'flip' is no choice; "),
        (SearchSection, "scheduler", "ashe", r"scheduler = 'ashe' is no choice; take one of .*'asha'"),
        (Resources, "device", "gpu", "device = 'gpu' is no choice; take one of 'auto', 'cpu', 'cuda'"),
        (Resources, "loggers", ("mlflow", "wandbb"), r"loggers = 'wandbb' is no choice; take one of .*'wandb'"),
        (TeacherCacheOptions, "keep", "logit", r"keep = 'logit' is no choice; take one of .*'logits'"),
        (LKD, "mode", "join", "mode = \"join\" does not fit; it should be 'joint'"),
        (Subgraph, "choose", "serch", r"choose = \"serch\" does not fit; it should be .*'search'"),
        (Subgraph, "proximal", "istaa", r"proximal = \"istaa\" does not fit; it should be .*'ista'"),
        (Recipe, "lr", float("inf"), "lr must be finite, got inf"),
        (Recipe, "gamma", float("nan"), "gamma must be finite, got nan"),
        (Recipe, "milestones", (0.5, float("nan")), "milestones must be finite"),
        (Budget, "latency_ms", float("nan"), "latency_ms must be finite, got nan"),
    ],
)
def test_a_choice_that_there_is_not_and_a_number_that_is_none(kind, field, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**{field: wrong})
    with pytest.raises(ValueError, match=sentence):
        replace(kind(), **{field: wrong})


def test_what_is_in_its_place_passes():
    recipe = Recipe(optimizer="adamw", schedule="multistep", augment="crop-flip")
    assert TeacherSpec(recipe=recipe).recipe.optimizer == "adamw"
    assert Resources(loggers=("mlflow", "wandb")).loggers == ("mlflow", "wandb")


@pytest.mark.parametrize("method", [WeightedLosses, ProKT])
@pytest.mark.parametrize("losses", ["", ",", " , "])
def test_no_loss_at_all_is_refused(method, losses):
    with pytest.raises(ConfigError, match="names no loss, so that nothing would be distilled; name one"):
        method(losses=losses)


def test_labels_alone_are_asked_for_by_name():
    assert WeightedLosses(losses="ce").losses == "ce"
