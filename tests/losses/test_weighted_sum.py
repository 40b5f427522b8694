"""Sums of losses: how they are written, what each part weighs when, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import AutoMLKDError, ConfigError, UnknownNameError
from automl_kd.losses.base import FeatureNames
from automl_kd.losses.features.at import AT
from automl_kd.losses.logits.kd import KD
from automl_kd.losses.weighted_sum import WeightedLoss, read_mix, scalar
from automl_kd.spec import Recipe
from automl_kd.tasks.soft_targets import kd_loss
from tests.losses.outputs import batch, example, outputs


def weights(text: str) -> dict[str, float]:
    return {part.name: part.weight for part in read_mix(text).parts}


def test_names_alone_take_their_standard_weights():
    assert weights("kd") == {"kd": 0.9, "ce": 0.1}
    assert weights("at") == {"at": 1000.0, "ce": 1.0}
    assert weights("kd, at") == {"kd": 0.9, "at": 1000.0, "ce": 1.0}
    assert weights("kd=0.5") == {"kd": 0.5, "ce": 1.0}
    assert weights("ce=0.3, kd") == {"ce": 0.3, "kd": 0.9}


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_sum_without_a_loss_is_refused(text):
    with pytest.raises(ConfigError, match="names no loss, so that nothing would be distilled; name one"):
        read_mix(text)


def test_options_reach_their_loss():
    mix = read_mix(
        "at=10, at.power=3, at.stages=stage1:stage2+stage3, kd.temperature=2, kd", recipe=Recipe(label_smoothing=0.1)
    )
    losses = {part.name: part.loss for part in mix.parts}
    assert losses["at"] == AT(power=3.0, stages="stage1:stage2+stage3")
    assert losses["kd"] == KD(temperature=2.0)
    assert getattr(losses["ce"], "label_smoothing", None) == 0.1
    assert mix.features == FeatureNames(("stage1", "stage3"), ("stage2", "stage3"))


def test_losses_of_ones_own_are_named_by_reference():
    mix = read_mix("automl_kd.losses.logits.kd:KD=2, automl_kd.losses.logits.kd:KD.temperature=3, ce=0")
    assert (mix.parts[0].weight, mix.parts[0].loss) == (2.0, KD(3.0))
    student, teacher = outputs(0), outputs(1)
    terms = mix.make(example(student, teacher))(student, teacher, batch())
    torch.testing.assert_close(terms["kd"], 2 * kd_loss(student.logits, teacher.logits, 3.0))
    own = read_mix("automl_kd.losses.features.fitnet:FitNet=1").make(example(student, teacher))
    assert all(name.startswith("layers.automl_kd_losses_features_fitnet:FitNet.") for name in own.state_dict())


def test_a_sum_is_the_weighted_sum_of_its_parts():
    student, teacher = outputs(0), outputs(1)
    terms = read_mix("kd=0.5, at=10, ce=2").make(example(student, teacher))(student, teacher, batch())
    torch.testing.assert_close(terms["kd"], 0.5 * KD()(student, teacher, batch())["kd"])
    torch.testing.assert_close(terms["at"], 10 * AT()(student, teacher, batch())["at"])
    torch.testing.assert_close(terms["ce"], 2 * torch.nn.functional.cross_entropy(student.logits, batch().labels))


def test_terms_that_train_only_the_losses_layers_are_not_weighted():
    student, teacher = outputs(0), outputs(1)
    one, two = (read_mix(f"ft={weight}").make(example(student, teacher)) for weight in (1, 7))
    a, b = (mixed(student, teacher, batch()) for mixed in (one, two))
    torch.testing.assert_close(7 * a["ft"], b["ft"])
    assert torch.equal(a["ft.own"], b["ft.own"])


def test_an_outer_problem_differentiates_through_the_weights():
    student, teacher = outputs(0), outputs(1)
    mixed = read_mix("kd=0.5").make(example(student, teacher))
    weight = torch.tensor(0.3, requires_grad=True)
    terms = mixed(student, teacher, batch(), {"kd": weight})
    (gradient,) = torch.autograd.grad(terms["kd"], weight)
    torch.testing.assert_close(gradient, kd_loss(student.logits, teacher.logits, 4.0))


def test_layers_depend_on_the_seed_and_their_loss_alone():
    student, teacher = outputs(0), outputs(1)
    torch.manual_seed(1)
    alone = read_mix("fitnet").make(example(student, teacher))
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    beside = read_mix("vid, fitnet").make(example(student, teacher))
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in alone.state_dict().items():
        assert torch.equal(value, beside.state_dict()[name])
    other = read_mix("fitnet").make(example(student, teacher, seed=5))
    assert not torch.equal(next(alone.parameters()), next(other.parameters()))


def test_shares_by_hand():
    # Over 240 epochs with a twelfth of warm-up: epoch / 20, at most 1.
    part = WeightedLoss("dkd", KD(), 1.0, warmup=20 / 240)
    assert [round(part.share(epoch, 240), 12) for epoch in (1, 10, 20, 21, 240)] == [0.05, 0.5, 1.0, 1.0, 1.0]
    # From epoch 31 of 270, until epoch 30 of 270.
    late, early = WeightedLoss("ce", KD(), 1.0, start=1 / 9), WeightedLoss("ab", KD(), 1.0, until=1 / 9)
    assert [(late.share(epoch, 270), early.share(epoch, 270)) for epoch in (1, 30, 31, 270)] == [
        (0.0, 1.0), (0.0, 1.0), (1.0, 0.0), (1.0, 0.0),
    ]  # fmt: skip
    assert WeightedLoss("kd", KD(), 0.0).share(1, 10) == 0.0


@given(start=st.floats(0, 0.9), length=st.floats(0.05, 1), warmup=st.floats(0, 1), epochs=st.integers(1, 50))
def test_shares_stay_between_nothing_and_all_and_never_fall_before_the_end(start, length, warmup, epochs):
    part = WeightedLoss("kd", KD(), 1.0, start, min(1.0, start + length), warmup)
    shares = [part.share(epoch, epochs) for epoch in range(1, epochs + 1)]
    assert all(0 <= share <= 1 for share in shares)
    counted = [share for share in shares if share]
    assert counted == sorted(counted)


def test_a_loss_outside_its_part_of_the_run_is_not_evaluated():
    student, teacher = outputs(0), outputs(1)
    mixed = read_mix("fitnet, fitnet.until=0.5, kd=0, ce.start=0.5").make(example(student, teacher, epochs=4))
    assert [set(mixed(student, teacher, batch(epoch=epoch))) for epoch in (1, 2, 3, 4)] == [
        {"fitnet"}, {"fitnet"}, {"ce"}, {"ce"},
    ]  # fmt: skip
    assert mixed.phases() == {("fitnet",): [1, 2], ("ce",): [3, 4]}


@given(st.one_of(st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False)))
def test_values_are_read_back(value):
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kdd", "no loss is called 'kdd'; did you mean 'kd'"),
        ("kd=much", "kd=much is not a weight; write a number"),
        ("kd=", "kd= is not a weight"),
        ("kd=-1", "kd must be a weight >= 0, got -1.0"),
        ("kd=nan", "kd must be a weight >= 0"),
        ("kd, kd=1", "'kd=1' names something for the second time"),
        ("at, at.power=2, at.power=3", "'at.power=3' names something for the second time"),
        ("kd, at.power=2", "'at' has an option but is not in the sum"),
        ("kd, kd.temperature", "'kd.temperature' needs a value; write it as kd.temperature=value"),
        ("kd, kd.temprature=3", "unknown key 'temprature'; did you mean 'temperature'"),
        ("kd, kd.temperature=-3", "temperature must be above 0, got -3"),
        ("kd, kd.temperature=hot", 'temperature = "hot" does not fit'),
        ("at, at.stages=stage1+", "stages are names of feature layers joined by '+'"),
        ("kd, kd.start=0.5, kd.until=0.5", "kd needs 0 <= start < until <= 1"),
        ("kd, kd.warmup=2", "kd.warmup must lie in"),
        ("kd, kd.until=late", "kd.until = 'late' does not fit"),
        ("kd=0, ce=0", "every weight in 'kd=0, ce=0' is 0"),
        (
            "os:path",
            "'os:path' is no loss, since it is a module; name a frozen dataclass with standard, features, make",
        ),
        ("kd, json:dumps=1", "'json:dumps' is no loss, since it is a function"),
        ("automl_kd.spec:Recipe=1", "'automl_kd.spec:Recipe' is no loss, since it lacks standard"),
        ("automl_kd.losses.weighted_sum:Mix", "is no loss, since it has no default for parts"),
        ("kd=1e39", "kd=1e+39 is more than float32 holds; give at most 1e38"),
        ("vid, vid.variance=1e300", "vid.variance=1e+300 is more than float32 holds; give at most 1e38"),
        ("kd, kd.temperature=1" + "0" * 400, "is more than float32 holds; give at most 1e38"),
    ],
)
def test_mistakes_are_told_in_one_sentence(text, told):
    with pytest.raises(AutoMLKDError) as error:
        read_mix(text)
    assert isinstance(error.value, ConfigError | UnknownNameError)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_an_epoch_without_any_loss_is_refused():
    student, teacher = outputs(0), outputs(1)
    mix = read_mix("kd, kd.start=0.75, ce.until=0.5")
    with pytest.raises(ConfigError, match="none counts in epoch 3 of 4; let one start earlier"):
        mix.make(example(student, teacher, epochs=4))
