"""Two processes that train one student together come to what one process comes to, by every method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from automl_kd.training.trial import PASSES
from tests.conformance.trials import difference, left_by
from tests.training.distributed_trials import RESUMED, TRIALS, quickly, spec_of, together, train

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two processes")]  # one worker carries the trials out for all

SUMMED = {"train_loss", "teacher_ce", "student_teacher_kl", "teacher_beta"}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Where two processes have carried out all trials."""
    root: Path = tmp_path_factory.mktemp("team")
    together(root)
    return root


def seen(root: Path, name: str) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = torch.load(root / "seen" / f"{name}.pt")
    return found


@pytest.mark.parametrize("name", TRIALS)
def test_two_processes_come_to_what_one_comes_to(root, monkeypatch, name: str):
    quickly(monkeypatch.setattr)
    trial = TRIALS[name]
    alone = train(spec_of(root, trial), root, f"alone/{name}").seen
    team = seen(root, f"{name} 0")
    assert seen(root, f"{name} 1") == {}  # the first reports for both
    assert [sorted(metrics.keys() - set(PASSES)) for metrics in team.values()] == [
        sorted(metrics.keys() - set(PASSES)) for metrics in alone.values()
    ]
    for epoch, metrics in alone.items():
        for what in metrics.keys() - {"seconds", *PASSES}:
            # Losses are added up in float32.
            near = max(trial.within, 1e-5 if what in SUMMED else 0.0)
            assert team[epoch][what] == pytest.approx(metrics[what], rel=near, abs=near), (epoch, what)
    for file in ("student.pt", "student_best.pt"):
        one, two = (torch.load(root / folder / name / file) for folder in ("alone", "team"))
        torch.testing.assert_close(two, one, rtol=trial.within, atol=trial.within)
    assert {path.name for path in (root / "team" / name).rglob("*")} == {
        path.name for path in (root / "alone" / name).rglob("*")
    }


@pytest.mark.parametrize("name", RESUMED)
def test_broken_off_they_continue_to_the_same_bits(root, name: str):
    """With dropout, which each of the two draws for itself."""
    whole, broken = (seen(root, f"{how} {name} 0") for how in ("whole", "broken"))
    assert sorted(seen(root, f"stopped {name} 0")) == [1]
    assert not difference(whole, broken)
    assert not difference(left_by(root / "whole" / name), left_by(root / "broken" / name))


@pytest.mark.parametrize("name", RESUMED)
def test_killed_inside_epochs_they_continue_to_the_same_bits(root, name: str):
    assert not difference(seen(root, f"whole {name} 0"), seen(root, f"killed {name} 0"))
    assert not difference(left_by(root / "whole" / name), left_by(root / "killed" / name))


@pytest.mark.parametrize("folder", ["handed over", "handed over inside"])
def test_what_two_have_begun_one_ends(root, monkeypatch, folder: str):
    quickly(monkeypatch.setattr)
    spec = spec_of(root, TRIALS["lkd"])
    train(spec, root, folder)
    train(spec, root, "whole")
    one, two = (torch.load(root / where / "student.pt") for where in ("whole", folder))
    torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9)
