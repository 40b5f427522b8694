"""Proxies on tokens: which score encoders and recurrent students of texts, and what the others say.

A proxy that is new in the table must be entered in `READ` or `REFUSED`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import automl_kd as akd
from automl_kd.data import Dataset, load_data
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.proxy_filter import make_probes, screen
from automl_kd.experiment.stages.scoring import Labour, Scoring, score_space
from automl_kd.models import build
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.models.text.shape import as_text
from automl_kd.proxies import PROXIES
from automl_kd.proxies.base import Shared
from automl_kd.proxies.gradients.grasp import grasp
from automl_kd.proxies.gradients.ntk_condition import kernel
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.probe import Probe, without_dropout
from automl_kd.proxies.score import ProxyScore, score_architectures
from automl_kd.space import Architecture, InputShape, SearchSpace, TextShape, Values
from automl_kd.spec import DataSpec, TeacherSpec
from search_spaces import bert, bilstm
from tests import tiny
from tests.data.text.words import write_set

READ: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("params", "macs", "l2_norm"), ("bert", "bilstm")),
    **dict.fromkeys(("grad_norm", "plain", "snip", "grasp", "zico", "ntk_condition"), ("bert", "bilstm")),
    **dict.fromkeys(("jacob_cov", "epe_nas"), ("bert", "bilstm")),
    **dict.fromkeys(("gradsign", "fisher"), ("bert",)),
    **dict.fromkeys(("diswot_relation", "diswot_semantic"), ("bert", "bilstm")),
    **dict.fromkeys(("kd_kd", "kd_fitnet", "kd_sp", "kd_rkd", "kd_cc", "kd_pkt"), ("bert", "bilstm")),
    **dict.fromkeys(("kd_nst", "kd_cka"), ("bert",)),
}
"""The students of texts that each proxy scores."""

CONVOLUTIONS = "reads maps of convolutions, and this network reads words and has no convolution; choose grad_norm"
RECTIFIERS = "found no rectifier module in the student, and needs at least one; .* choose one of gradients, such as"
FLOW = "measures what flows from an image of ones through convolutions, and this network reads words .*; choose grad"
STAGES = "compares networks at 'stage2', where the student has no feature layer; it has pooled, .* choose kd_kd, kd_sp"

REFUSED: dict[str, str] = {
    "live_conv_weights": "counts weights of convolutions, .* choose params or macs for texts",
    "live_conv_count": "counts convolutions, .* choose params or macs for texts",
    "longest_path": "counts convolutions in a row, .* choose params or macs for texts",
    "gradsign": "takes single images' gradients of convolutions and linear .* has recurrent ones; choose grad_norm",
    "fisher": "reads outputs of convolutions and linear layers, and this network has recurrent ones; choose grad_norm",
    "vkdnw": "reads gradients by weights of convolutions, .* choose grad_norm, snip or jacob_cov for texts",
    "zen": "feeds images of noise to convolutions, .* choose grad_norm, snip or jacob_cov for texts",
    "linear_regions": "thins convolutions and reads their rectifiers, .* choose grad_norm, snip or jacob_cov for texts",
    "kd_at": "compares where maps are large, .* normalised to one size; choose kd_sp, kd_nst or kd_cka for texts",
    **dict.fromkeys(("synflow", "logsynflow"), FLOW),
    **dict.fromkeys(("naswot", "swap", "swap_regularised"), RECTIFIERS),
    **dict.fromkeys(("meco", "meco_opt", "az_expressivity", "az_progressivity", "az_trainability"), CONVOLUTIONS),
    **dict.fromkeys(("kd_nst", "kd_cka"), STAGES),
}
"""What a proxy says, after its name, of students that it does not score."""

STUDENTS: dict[str, tuple[SearchSpace, Values, Values]] = {
    "bert": (bert.SPACE, {**bert.SPACE.default, "layers": 3, "width": 96, "heads": 3}, {"mlp": 1.0}),
    "bilstm": (bilstm.SPACE, {**bilstm.SPACE.default, "embedding": 64, "hidden": 64}, {"embedding": 128}),
}
"""For each kind the space, a student, and what another has otherwise. Both have vectors as wide as their teacher's."""

TEXTS = 16


def of_width(width: int, shape: InputShape) -> nn.Module:
    return Bert(as_text(shape), BertPlan(layers=3, width=width, heads=4, inner=64, embedding=32, positions=64))


def teacher_of_bert(shape: InputShape) -> nn.Module:
    return of_width(96, shape)


def teacher_of_bilstm(shape: InputShape) -> nn.Module:
    return of_width(128, shape)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def texts(table: Path) -> Dataset:
    return load_data(data_of(table), table.parent)


def data_of(table: Path) -> DataSpec:
    return DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"))


def teacher_for(kind: str) -> TeacherSpec:
    return TeacherSpec(model=f"{__name__}:teacher_of_{kind}", recipe=tiny.TEACHER.recipe)


def probe_of(texts: Dataset, kind: str) -> Probe:
    (probe,) = make_probes(texts, ["kd_kd"], teacher_for(kind), images=TEXTS, draws=1, seed=0)
    return probe


def architectures_of(kind: str) -> list[Architecture]:
    _, values, change = STUDENTS[kind]
    return [Architecture.of(values), Architecture.of({**values, **change})]


def scores_of(name: str, kind: str, probe: Probe) -> list[ProxyScore]:
    return score_architectures(STUDENTS[kind][0], architectures_of(kind), [name], [probe], seed=0)


def test_every_proxy_has_decided() -> None:
    assert READ.keys() | REFUSED.keys() == PROXIES.keys()
    assert {name for name in READ if name in REFUSED} == {name for name, kinds in READ.items() if len(kinds) == 1}


@pytest.mark.parametrize("kind", STUDENTS)
@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_scores_students_of_texts_or_says_what_it_reads(texts: Dataset, name: str, kind: str) -> None:
    probe = probe_of(texts, kind)
    found = scores_of(name, kind, probe)
    if kind in READ.get(name, ()):
        assert [one.error for one in found] == ["", ""]
        assert all(math.isfinite(one.value) for one in found)
        assert found[0].value != found[1].value
        assert [one.value for one in scores_of(name, kind, probe)] == [one.value for one in found]
    else:
        for one in found:
            assert re.match(f"{name} {REFUSED[name]}", one.error), one.error
            assert "\n" not in one.error


EXCEPT_FOR_CENTRING = [name for name in READ if name not in {"jacob_cov", "epe_nas"}]
"""These two correlate whole rows, and the zeros of padding move a row's mean."""


@pytest.mark.parametrize("kind", STUDENTS)
def test_longer_padding_changes_no_score(texts: Dataset, kind: str) -> None:
    probe = probe_of(texts, kind)
    longer = F.pad(probe.images, (0, 11), value=as_text(probe.shape).padding)
    names = [name for name in EXCEPT_FOR_CENTRING if kind in READ[name] and not PROXIES[name].needs_teacher]
    space, architectures = STUDENTS[kind][0], architectures_of(kind)[:1]
    plain, padded = (
        score_architectures(space, architectures, names, [one], seed=0)
        for one in (probe, dataclasses.replace(probe, images=longer))
    )
    for one, other in zip(plain, padded, strict=True):
        # float32; the condition number's smallest eigenvalue and zico's quotients are differences of near equals
        tolerance = 0.02 if one.proxy in {"zico", "ntk_condition", "gradsign"} else 1e-3
        assert other.value == pytest.approx(one.value, rel=tolerance), one.proxy


class Words(nn.Module):
    """The mean of a text's words, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.classifier = nn.Embedding(5, 2), nn.Linear(2, 3, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.words(tokens).mean(dim=1))
        return logits


def two_texts() -> Probe:
    shape = TextShape(width=4, classes=3, vocabulary=5, padding=0, separator=1, longest=4)
    return Probe(torch.tensor([[2, 3, 4, 2], [3, 3, 2, 4]]), torch.tensor([0, 2]), shape)


def test_the_gradient_by_tokens_is_that_by_their_embeddings() -> None:
    network = Words()
    with torch.no_grad():
        network.classifier.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, -2.0]]))
    found = Passes(network, two_texts(), ["input_gradient"]).input_gradient
    # Each word is a fourth of the mean; the columns of the weight add up to 9 and 4.
    torch.testing.assert_close(found, torch.tensor([9.0, 4.0]).expand(2, 4, 2) / 4)


def test_a_kernel_of_few_words_is_that_of_the_whole_table() -> None:
    network, probe = Words(), two_texts()
    rows = []
    for text in probe.images:
        found = torch.autograd.grad(network(text[None]).sum(), list(network.parameters()))
        rows.append(torch.cat([one.flatten() for one in found]).double())
    expected = torch.stack(rows) @ torch.stack(rows).T
    torch.testing.assert_close(kernel(network, probe.images), expected, rtol=1e-5, atol=1e-6)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_network_of_tokens_without_an_embedding_is_refused_in_a_sentence() -> None:
    class OneHot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(5, 3)

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.classifier(F.one_hot(tokens, 5).float().mean(dim=1))
            return logits

    passes = Passes(OneHot(), two_texts(), ["input_gradient"])
    with pytest.raises(ConfigError, match=r"no nn\.Embedding runs in this one; choose grad_norm, snip or zico"):
        assert passes.input_gradient is None


def recurrent(texts: Dataset) -> tuple[nn.Module, Probe]:
    probe = probe_of(texts, "bilstm")
    network = build(bilstm.SPACE, architectures_of("bilstm")[0], probe.shape, seed=0)
    without_dropout(network)
    return network.train(), probe


def test_weights_of_recurrent_layers_count(texts: Dataset) -> None:
    network, probe = recurrent(texts)
    loss = F.cross_entropy(network(probe.images), probe.labels)
    names = [f"lstm.weight_{of}_l0{way}" for way in ("", "_reverse") for of in ("ih", "hh")]
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, [parameters[name] for name in [*names, "classifier.weight"]])
    proxy = PROXIES["grad_norm"].proxy
    assert isinstance(proxy, Shared)
    assert proxy(network, probe) == pytest.approx(float(sum(one.norm() for one in gradients)), rel=1e-5)
    assert gradients[0].norm() > 1e-4


def test_grasp_of_recurrent_layers_is_the_change_of_the_gradient(texts: Dataset) -> None:
    network, probe = recurrent(texts)
    network.double()
    weights = [one for name, one in network.named_parameters() if name.startswith(("lstm.weight", "classifier.weight"))]

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(network(probe.images), probe.labels), weights))

    step, g = 1e-4, gradients()
    moved = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, one in zip(weights, g, strict=True):
                weight.add_(one, alpha=sign * step)
        moved.append(gradients())
        with torch.no_grad():
            for weight, one in zip(weights, g, strict=True):
                weight.sub_(one, alpha=sign * step)
    products = [(one - two) / (2 * step) for one, two in zip(*moved, strict=True)]
    expected = -sum(float((weight.detach() * one).sum()) for weight, one in zip(weights, products, strict=True))
    assert float(grasp(Passes(network, probe))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", STUDENTS)
def test_no_dropout_is_left_and_the_teacher_keeps_its_own(texts: Dataset, kind: str) -> None:
    probe = probe_of(texts, kind)
    network = build(STUDENTS[kind][0], architectures_of(kind)[0], probe.shape, seed=0).train()
    assert not torch.equal(network(probe.images), network(probe.images))
    without_dropout(network)
    assert torch.equal(network(probe.images), network(probe.images))


def test_a_space_of_texts_is_scored(table: Path, tmp_path: Path) -> None:
    data = data_of(table)
    scoring = Scoring(
        space="search_spaces.bert:SPACE",
        proxies=("grad_norm", "diswot_relation", "params", "rank_sum(jacob_cov+params)"),
        sample=4,
        data=data.name,
        tokenizer=data.tokenizer,
        teacher=f"{__name__}:teacher_of_bert",
        images=8,
        repeats=2,
    )

    def run(settings: Scoring) -> None:
        _, frame = score_space(settings, Labour(workers=1), out=tmp_path, data_root=tmp_path, watcher=Silent())
        assert frame is not None
        assert np.isfinite(frame[list(settings.proxies)]).all(axis=None)
        assert all(frame[name].nunique() == 4 for name in settings.proxies[:3])

    run(scoring)
    run(scoring)  # read again
    with pytest.raises(ConfigError, match="texts become tokens by a tokenizer, and none is named; give --tokenizer"):
        run(dataclasses.replace(scoring, tokenizer=""))
    with pytest.raises(ConfigError, match=r"'resnet8', with which proxies compare students, cannot .* name another"):
        run(dataclasses.replace(scoring, teacher="resnet8"))
    with pytest.raises(ConfigError, match="proxy 'synflow' fails on all 4 architectures: synflow measures"):
        run(dataclasses.replace(scoring, proxies=("synflow",)))


def test_a_python_program_names_the_tokenizer_with_the_data(table: Path, tmp_path: Path) -> None:
    data = {"name": f"text:{table}", "tokenizer": str(table.parent)}
    frame = akd.score("search_spaces.bilstm:SPACE", ["snip"], data=data, sample=2, images=8, out=tmp_path)
    assert frame["snip"].gt(0).all()


def test_a_search_of_texts_ranks_its_pool(table: Path, tmp_path: Path) -> None:
    proxies = ("grad_norm", "jacob_cov", "kd_sp")
    section = dataclasses.replace(tiny.SEARCH, proxy_filter=proxies, pool=4, probe_images=8)
    asked = tiny.experiment(
        method="kd", space="search_spaces.bert:SPACE", data=data_of(table), teacher=teacher_for("bert"), search=section
    )
    roots = Roots(results=tmp_path / "results", data=tmp_path)
    context = prepare_experiment(asked, roots, Silent())
    probes = make_probes(context.dataset, proxies, context.experiment.teacher, images=8, draws=1, seed=0)
    seen: list[ProxyScore] = []
    rank = screen(context.space, proxies, probes, seed=0, on_scores=seen.extend)
    sums = rank(architectures_of("bert"))
    assert len(seen) == 6
    assert sum(sums) == 9  # two ranks, three times
    refused = dataclasses.replace(asked, search=dataclasses.replace(section, proxy_filter=("meco",)))
    with pytest.raises(ConfigError, match=r"^proxy 'meco' fails on all 4 candidates: meco reads maps of convolutions"):
        prepare_experiment(refused, dataclasses.replace(roots, results=tmp_path / "other"), Silent())
