"""Processes: the styles' values, stretching and clipping by hand, and files that are whole or refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ConfigError
from automl_kd.methods.distpro.pathways import Pathway, list_pathways
from automl_kd.methods.distpro.process import (
    WEIGHT_STYLES,
    Process,
    biased,
    load_process,
    process_from_steps,
    require_pathways,
    save_process,
    weigh,
    weights_over,
)

TWO = (("a", "a", "plain"), ("a", "b", "plain"))
E = torch.tensor(1.0, dtype=torch.float64).exp().item()


def process(*rows: tuple[float, float], **changed: object) -> Process:
    axis = tuple(i / max(len(rows) - 1, 1) for i in range(len(rows)))
    made = Process(pathways=TWO, style="absolute", kd=1.0, steps=9, axis=axis, alpha=rows)
    return replace(made, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("style", "value"),
    [
        ("equal", 1),
        ("softmax", 1 / 10),
        ("biased", 1 / 11),
        ("sigmoid", E / (1 + E)),
        ("absolute", 1),
        ("share3", 0.3),
        ("share10", 10 / 11),
        ("scaled", 10 / 11),
    ],
)
def test_ten_pathways_at_the_start(style, value):
    weights = weigh(style, torch.ones(10, dtype=torch.float64), 1.0)
    torch.testing.assert_close(weights, torch.full((10,), value, dtype=torch.float64), rtol=1e-12, atol=0)


def test_the_factor_counts_in_two_styles_only():
    alpha = torch.tensor([0.5, -2.0])
    by_factor = [
        style for style in WEIGHT_STYLES if not torch.equal(weigh(style, alpha, 2.0), weigh(style, alpha, 1.0))
    ]
    assert by_factor == ["equal", "scaled"]


def test_bias_is_one_and_lets_all_weights_vanish():
    # alpha (0, 1): (1, e) / (1 + e + e), because the constant is e^1.
    expected = torch.tensor([1, E], dtype=torch.float64) / (1 + 2 * E)
    torch.testing.assert_close(biased(torch.tensor([0.0, 1.0], dtype=torch.float64)), expected)
    assert biased(torch.tensor([-30.0, -30.0])).sum() < 1e-12


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=6), st.sampled_from(sorted(WEIGHT_STYLES)))
def test_weights_are_never_negative_and_keep_their_sum(alpha, style):
    weights = weigh(style, torch.tensor(alpha, dtype=torch.float64), 1.0)
    assert weights.min() >= 0
    limits = {"softmax": 1, "biased": 1, "share3": 3, "share10": 10, "scaled": len(alpha)}
    assert weights.sum() <= limits.get(style, torch.inf) + 1e-9


def test_stretching_by_hand():
    # Three records at 0, 1/2, 1; five steps at 0, 1/4, 1/2, 3/4, 1.
    found = process((0, 4), (2, 4), (6, 0)).stretched(5)
    torch.testing.assert_close(found, torch.tensor([[0, 4], [1, 4], [2, 4], [4, 2], [6, 0]], dtype=torch.float64))


@given(st.integers(1, 40))
def test_replay_at_the_searchs_own_length_is_the_record(steps):
    rows = torch.linspace(0, 3, 2 * steps).reshape(steps, 2)
    axis, alpha = process_from_steps(range(steps), list(rows), steps)
    found = Process(pathways=TWO, style="softmax", kd=1.0, steps=steps, axis=axis, alpha=alpha).stretched(steps)
    torch.testing.assert_close(found.float(), rows, atol=1e-5, rtol=1e-5)


def test_one_step_takes_the_last_record():
    assert process((1, 2), (3, 4)).stretched(1).tolist() == [[3, 4]]


def test_clipping_final_weights_and_another_style():
    one = process((0.2, 1), (0.6, 0.4))
    torch.testing.assert_close(
        weights_over(one, 2, clip=0.5), torch.tensor([[0, 1], [0.6, 0]], dtype=torch.float64), rtol=0, atol=0
    )
    assert weights_over(one, 2, final=True).tolist() == [[0.6, 0.4]] * 2
    assert weights_over(one, 2, style="equal", kd=3.0).tolist() == [[3, 3]] * 2
    assert weights_over(one, 2, clip=0.6).tolist() == [[0, 1], [0.6, 0]]  # the threshold itself stays
    # e / 3e = 1/3 each in style "scaled" times two pathways: 2/3 is clipped by 0.7 whatever the factor.
    assert weights_over(process((1, 1)), 1, clip=0.7, style="scaled", kd=9.0).tolist() == [[0, 0]]


def test_logits_are_kept_where_others_are_clipped():
    one = process((0.2, 0.3))
    assert weights_over(one, 1, clip=0.5).tolist() == [[0, 0]]
    assert weights_over(one, 1, clip=0.5, kept=[1]).tolist() == [[0, 0.3]]


def test_a_search_tells_pathways_apart_beyond_chance():
    # Two pathways: 5 % by Bonferroni is 2.24 standard errors.
    assert not process((1, 1), slopes=(2.2, -1.0), errors=(1.0, 1.0)).is_significant
    assert process((1, 1), slopes=(0.1, -2.3), errors=(1.0, 1.0)).is_significant
    assert process((1, 1)).is_significant  # a file of an earlier release, which kept none
    assert not process((1, 1), slopes=(0.0, 0.0), errors=(0.0, 0.0)).is_significant
    with pytest.raises(ValueError, match="a number for each pathway"):
        process((1, 1), slopes=(1.0,), errors=(1.0,))


def test_a_file_gives_back_what_was_saved(tmp_path):
    one = process((0.25, 1), (3, -1), kd=2.0, style="scaled")
    save_process(one, tmp_path / "deep" / "process.json")
    assert load_process(tmp_path / "deep" / "process.json") == one
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["process.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "version 9 is not 1"),
        ({"style": "softmix"}, "no style of weights is called 'softmix'; did you mean 'softmax'"),
        ({"axis": [0.0, 0.0]}, "axis must rise"),
        ({"axis": [0.0]}, "one length"),
        ({"alpha": [[1.0], [2.0]]}, "each row of alpha"),
        ({"alpha": "none"}, "alpha = "),
        ({"kd": -1.0}, "kd must be 0 or more"),
        ({"weight": 1.0}, "unknown key 'weight'"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(tmp_path, change, message):
    record = {**asdict(process((0, 1), (2, 3))), **change}
    (tmp_path / "p.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_process(tmp_path / "p.json")


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", "holds a list"), (None, "could be read")])
def test_files_that_hold_no_process(tmp_path, text, message):
    if text is not None:
        (tmp_path / "p.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_process(tmp_path / "p.json")


def test_a_process_of_other_pathways_is_refused_or_matched_by_place():
    one = process((0, 1))
    require_pathways(one, [Pathway(*pathway) for pathway in TWO], by_place=False)
    renamed = [Pathway("x", "x", "plain"), Pathway("x", "layer2", "plain")]
    require_pathways(one, renamed, by_place=True)
    with pytest.raises(ConfigError, match=r"it lacks x -> x \(plain\)"):
        require_pathways(one, renamed, by_place=False)
    # (x, x), (y, layer2): the second teacher's tap is another one, so no renaming makes these the same.
    with pytest.raises(ConfigError, match="other pathways"):
        require_pathways(one, [renamed[0], Pathway("y", "layer2", "plain")], by_place=True)
    with pytest.raises(ConfigError, match="their order differs"):
        require_pathways(one, [Pathway(*pathway) for pathway in reversed(TWO)], by_place=False)
    with pytest.raises(ConfigError, match="it also has a -> b"):
        require_pathways(one, list_pathways("a", "lower", "plain"), by_place=True)
