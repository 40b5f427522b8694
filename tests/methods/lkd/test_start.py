"""Where learned distillation begins: a student under a loss that nothing has moved yet is one of plain distillation."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from automl_kd.losses.learned.file import LearnedLoss, save_learned
from automl_kd.losses.learned.loss import LossLayout
from automl_kd.losses.learned.start import FIT_STEPS, fit_error, initial_layer, initial_phi
from automl_kd.methods import run_trial
from automl_kd.methods.lkd.cost import start_macs
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.spec import Recipe
from tests import tiny


@pytest.mark.parametrize("label", [True, False])
def test_what_fitting_the_free_form_costs_is_what_its_steps_multiply(label):
    layout, generator = LossLayout(form="free", label=label), torch.Generator().manual_seed(3)
    weights = initial_layer(layout.networks()["logits"], generator, zero_last=False)
    leaves = {name: value.requires_grad_() for name, value in weights.items()}
    with counting() as counter:
        fit_error(leaves, layout, 4.0, generator).backward()
    assert start_macs(layout) == FIT_STEPS * counter.macs
    assert start_macs(LossLayout(label=label)) == start_macs(LossLayout(form="free", logits=False, pairs=1)) == 0


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_under_the_initial_loss_is_that_of_plain_distillation(tmp_path, temperature):
    phi = initial_phi(LossLayout(), temperature, seed=3)
    save_learned(LearnedLoss(LossLayout(), temperature, phi, [phi]), tmp_path / "learned_loss.pt")
    learned = {"mode": "retrain", "loss": str(tmp_path / "learned_loss.pt"), "temperature": temperature, "weight": 0.9}
    students = {}
    for method, options in {
        "kd": {"temperature": temperature, "weight": 0.9},
        "kd, other weight": {"temperature": temperature, "weight": 0.8},
        "lkd": learned,
    }.items():
        spec = tiny.taught(tmp_path, method.partition(",")[0], options=options, recipe=Recipe(epochs=2, batch_size=16))
        place = dataclasses.replace(tiny.place(tmp_path, spec), trial=tmp_path / method)
        run_trial(spec, tiny.Recorder(), place)
        students[method] = tiny.build({"width": 4}, tiny.SHAPE)
        load_weights(students[method], place.trial / "student.pt")
    for name, value in students["kd"].state_dict().items():
        torch.testing.assert_close(students["lkd"].state_dict()[name], value, rtol=1e-4, atol=1e-5)
    # another weight of the teacher is told apart
    other = students["kd, other weight"].state_dict()["stem.weight"]
    assert (other - students["kd"].state_dict()["stem.weight"]).abs().max() > 1e-3
