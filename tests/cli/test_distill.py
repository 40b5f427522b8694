"""What a distillation reports on the terminal, in Markdown and on the page: one student, and no word of a search."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

import automl_kd.experiment
from automl_kd.results.report.page import write_page
from automl_kd.spec.named_recipes import named_recipe
from tests.conformance.sketches import sketched
from tests.results.distilled import METHOD, teacher, trainings, write_distillation

__all__ = ["sketched"]

pytestmark = pytest.mark.usefixtures("sketched")

FOREIGN = re.compile(r"found|search|default student|finalist|proxy|leaderboard<|rank", re.IGNORECASE)


def visible(page: str) -> str:
    """The text of a page, without its styles and the ids and colours in its tags."""
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    return write_distillation(tmp_path / "results" / "taught", [teacher(), *trainings()])


def test_a_run_says_what_it_is(run, monkeypatch, folder):
    def pretend(experiment, roots, _watcher, *, address, accept_teacher):
        assert (experiment.space, experiment.method, address) == ("model:resnet8", "prokt", "")
        return SimpleNamespace(folder=roots.results / "taught")

    monkeypatch.setattr(automl_kd.experiment, "run_stages", pretend)
    code, out, _ = run("distill", "--student", "resnet8", "--method", "prokt", "--name", "taught", "--progress", "none")
    assert code == 0
    lines = out.splitlines()
    first = [line.split("  ")[0] for line in lines[2:6]]
    assert first == ["from scratch", "plain KD (temperature=4)", "weighted_losses (losses=dkd=1)", "teacher, resnet20"]
    assert lines[1].split("  ")[0] == "training"
    assert re.findall(r"\S+ ± \S+", out) == ["91.00 ± 2.48", "93.00 ± 2.48", "96.00 ± 2.48"]
    words = " ".join(out.split())
    assert "is 3.00 points better than plain KD (96.00 % on test against 93.00 %, 95 % interval +0.52 to" in words
    assert "taught: one student" in words
    assert FOREIGN.findall(words.replace("leaderboard.", "")) == []


def test_the_files_say_it_too(run, folder):
    assert run("leaderboard", "results/taught").code == 0
    text, page = ((folder / f"leaderboard.{kind}").read_text() for kind in ("md", "html"))
    made, *rest = text.splitlines()
    assert made == "<!-- made by: automl-kd leaderboard results/taught -->"
    assert FOREIGN.findall("\n".join(rest)) == []
    assert "| weighted_losses (losses=dkd=1) | 97.00 | 96.00 ± 2.48 | 1.00 | 3 | 77.8 k |" in text
    shown = visible(page).replace("automl-kd leaderboard", "")
    assert FOREIGN.findall(shown) == []
    for said in (
        "Gained: resnet8 (77.8 k parameters)",
        "teacher, resnet20",
        "+0.52 to +5.48",
        "student, all trainings",
    ):
        assert said in shown
    assert page.count("<svg") == 2


def test_a_page_of_a_run_that_has_just_begun(folder, tmp_path):
    young = write_distillation(tmp_path / "young", [teacher()])
    shown = visible(write_page(young, tmp_path / "page.html").read_text())
    assert "No verdict yet: the student is not trained." in shown
    assert FOREIGN.findall(shown) == []


def test_without_a_verdict_the_code_is_one(run, monkeypatch, tmp_path):
    write_distillation(tmp_path / "results" / "taught", [teacher(), *trainings()[:3]])
    there = SimpleNamespace(folder=tmp_path / "results" / "taught")
    monkeypatch.setattr(automl_kd.experiment, "run_stages", lambda *_, **__: there)
    code, out, _ = run("distill", "--student", "resnet8", "--name", "taught", "--progress", "none")
    assert code == 1
    assert "No verdict yet: no training by the method is done." in out


def test_named_recipes_and_long_names_are_taken(run, monkeypatch, tmp_path):
    asked = []

    def pretend(experiment, roots, _watcher, **_):
        asked.append(experiment)
        return SimpleNamespace(folder=write_distillation(roots.folder_of(experiment.name), [teacher(), *trainings()]))

    monkeypatch.setattr(automl_kd.experiment, "run_stages", pretend)
    timm = "timm:mobilenetv3_small_050.lamb_in1k", "timm:convnextv2_base.fcmae_ft_in22k_in1k_384"
    call = ("distill", "--student", timm[0], "--teacher", timm[1], "--method", "weighted_losses", "--progress", "none")
    named = ("--set", "recipe.name=tv2", "--set", "recipe.batch_size=512", "--set", "teacher.recipe.name=classic")
    code, _, err = run(*call, "--epochs", "9", *named)
    assert code == 0
    assert "distill: recipe.lr = 0.25: that of 'tv2' in proportion to batch_size = 512" in err
    (found,) = asked
    assert found.recipe == named_recipe("tv2", batch_size=512, epochs=9)
    assert found.teacher.recipe == named_recipe("classic", epochs=9)
    assert len(found.name) == 100
    assert found.name.startswith("distill-weighted_losses-timm-mobilenetv3_small_050.lamb_in1k-timm-convnextv2")


def test_several_are_ranked_in_markdown(run, folder, tmp_path):
    write_distillation(tmp_path / "results" / "other", trainings(dict.fromkeys(METHOD, 0.99)))
    assert run("leaderboard", "results", "--out", "both").code == 0
    text = (tmp_path / "both" / "leaderboard.md").read_text()
    assert "## Trial kind: final" in text
    assert "found student" not in text
    assert re.search(r"\| 1 \| method \| resnet8 \| 100.00 \| 99.00 ± 0.00", text)
