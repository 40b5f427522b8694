"""What is written of an experiment can be read again, and is the same experiment."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.config import (
    Budget,
    ComparisonSection,
    Experiment,
    Finalists,
    MethodEntry,
    Range,
    SearchSection,
    load_experiment,
    loads,
    to_record,
    write_commented,
)
from automl_kd.errors import ConfigError
from automl_kd.nasbench.config import (
    KINDS,
    FormulaSearch,
    ProxyExperiment,
    ProxySearch,
    SamplerRun,
    ScoreSource,
    TableExperiment,
    TableSearch,
    TableTask,
)
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Preprocessing, Recipe, TeacherSpec, TrialSpec
from tests import ROOT

FILES = [ROOT / "automl_kd" / "quickstart.toml", *sorted((ROOT / "benchmarks").rglob("*.toml"))]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts
options = st.dictionaries(texts, scalars, max_size=3)
values = st.lists(scalars, min_size=1, max_size=3, unique=True).map(tuple)
ranges = st.builds(
    lambda low, more, log: Range(low=low, high=low + more, log=log),
    st.integers(1, 100) | st.floats(0.01, 100.0),
    st.integers(1, 9),
    st.booleans(),
)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
slugs = st.from_regex(r"[a-z0-9][a-z0-9-]{0,9}", fullmatch=True)
searched = st.builds(
    SearchSection,
    options=options,
    trials=st.integers(1, 99),
    proxy_filter=st.lists(texts, max_size=2).map(tuple),
    scheduler=st.sampled_from(["none", "asha", "median"]),
    reduction=st.floats(1.5, 9.0),
)
experiments = st.builds(
    Experiment,
    name=names,
    space=texts,
    method=texts,
    options=options,
    hyperparameters=st.dictionaries(texts, values | ranges, max_size=3),
    seed=st.integers(0, 999_999),
    data=st.builds(DataSpec, name=texts, validation=st.floats(0.01, 0.99)),
    teacher=st.builds(TeacherSpec, model=texts, checkpoint=texts.filter(bool), weights=texts),
    recipe=st.builds(Recipe, lr=st.floats(1e-300, 1e300), amp=st.booleans()),
    budget=st.builds(Budget, params=st.integers(0, 2**40), latency_ms=st.floats(0, 1e9)),
    search=searched,
    finalists=st.builds(
        Finalists, seeds=st.lists(st.integers(0, 999_999), min_size=1, unique=True).map(tuple), baseline=options
    ),
)
entries = st.builds(
    MethodEntry,
    name=slugs,
    title=texts,
    method=texts,
    grid=st.dictionaries(texts, values, max_size=2),
    compute=st.just((0.5, 1.0)),
)
comparisons = st.lists(entries, min_size=1, max_size=3, unique_by=lambda one: one.name).map(
    lambda listed: Experiment(
        name="c", space="model:resnet8", comparison=ComparisonSection(reference=listed[0].name, methods=tuple(listed))
    )
)
tables = st.builds(
    lambda runs, scores, hours: TableExperiment(
        name="t",
        space="a:B",
        table=TableSearch(
            tasks=(TableTask(name="x", choose="y", report="z", hours=hours), TableTask(name="w", choose="", report="")),
            runs=runs,
            scores=scores,
        ),
    ),
    st.lists(st.builds(SamplerRun, sampler=texts, options=options), max_size=3, unique_by=lambda one: one.title).map(
        tuple
    ),
    st.dictionaries(slugs.filter(lambda one: one not in {"params", "macs", "random"}), st.just(ScoreSource(file="f"))),
    st.lists(st.floats(0.1, 1e6), min_size=1, unique=True).map(sorted).map(tuple),
)
formulas = st.lists(st.builds(FormulaSearch, sampler=texts, options=options), min_size=1, unique_by=lambda o: o.title)
proxies = formulas.map(
    lambda found: ProxyExperiment(
        name="p", space="a:B", proxy=ProxySearch(scores="s", choose="c", searches=tuple(found), penalty=0.25)
    )
)


def read_again(experiment: Any) -> Any:
    return loads(write_commented(experiment), kinds=KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_experiment_of_ours_reads_back(path):
    experiment = loads(path.read_text(), kinds=KINDS)  # as it is written: files that it names need not be here
    again = read_again(experiment)
    assert again == experiment
    assert write_commented(again) == write_commented(experiment)
    if isinstance(experiment, Experiment):
        assert [key_of(one) for one in (again, experiment)] == [key_of(experiment)] * 2


def key_of(experiment: Any) -> str:
    return TrialSpec(
        space=experiment.space,
        architecture=Architecture(()),
        method=experiment.method,
        options=experiment.options,
        data=experiment.data,
        teacher=experiment.teacher,
        recipe=experiment.recipe,
        seed=experiment.seed,
    ).key


@settings(deadline=None, max_examples=60)
@given(experiments | comparisons | tables | proxies)
def test_any_experiment_reads_back(experiment):
    assert read_again(experiment) == experiment


def test_a_population_reads_back():
    perturb = {"recipe.lr": Range(low=0.01, high=0.1, log=True), "method.temperature": Range(low=1.0, high=8.0)}
    population = SearchSection(scheduler="pbt", trials=4, perturb=perturb)
    experiment = Experiment(name="p", space="model:resnet8", search=population)
    assert read_again(experiment) == experiment
    assert '"recipe.lr" = { low = 0.01, high = 0.1, step = 1, log = true }' in write_commented(experiment)


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(name="x", space="a:B"),
        load_experiment(ROOT / "benchmarks" / "kd_methods.toml"),
        load_experiment(ROOT / "benchmarks" / "nasbench201_search.toml", kinds=KINDS),
        load_experiment(ROOT / "benchmarks" / "nasbench201_proxy.toml", kinds=KINDS),
    ],
    ids=["plain", "comparison", "table", "proxy"],
)
def test_every_field_is_there_with_a_comment(experiment):
    text = write_commented(experiment)
    assert tomllib.loads(text) == to_record(experiment)
    lines = text.splitlines()
    assert max(len(line) for line in lines if line.startswith("#")) <= 100
    seen = set()
    for place, line in enumerate(lines):
        heading_or_key = re.sub(r"^\[table\.scores\..*", "[table.scores]", line.partition(" = ")[0])
        if line and not line.startswith("#") and heading_or_key not in seen:
            seen.add(heading_or_key)
            assert lines[place - 1].startswith("#") or '"' in heading_or_key, line


def test_values_and_defaults_are_told():
    text = write_commented(Experiment(name="x", space="a:B", recipe=Recipe(epochs=7)))
    start = text.index("[recipe]\n")
    assert text[start:].startswith(
        "[recipe]\n# Passes over the training images. Allowed: 1 or more. Default: 30.\nepochs = 7\n"
        "# Images in a step. Allowed: 2 or more.\nbatch_size = 64\n"
    )
    assert '# SGD with momentum, AdamW or LAMB. Allowed: "sgd", "adamw", "lamb".\noptimizer = "sgd"\n' in text
    assert "In place of the line below, each is a table [[comparison.methods]] of these fields:" in text


def test_part_of_the_fields_can_be_asked_for():
    experiment = Experiment(name="x", space="a:B", recipe=Recipe(epochs=7))
    text = write_commented(experiment, lambda key: key in {"name", "space", "recipe.epochs"}, head="Mine.")
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        *("", 'name = "x"', 'space = "a:B"', "", "[recipe]", "epochs = 7")
    ]
    assert text.startswith("# Mine.\n")
    assert loads(text) == experiment


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ConfigError, match="bytes that are no UTF-8; take them out"):
        write_commented(dataclasses.replace(Experiment(name="x", space="a:B"), method="\udcff"))


def test_other_teachers_are_written_with_what_they_have_and_read_back():
    one, two = TeacherSpec(model="a:b", checkpoint="x", preprocessing=Preprocessing(channels="bgr")), TeacherSpec()
    plain = Experiment(name="mine", space="model:resnet8")
    several = dataclasses.replace(plain, teacher=TeacherSpec(checkpoint="y", others=(one, two), shares=(1.0, 2.0, 3.0)))
    text = write_commented(several)
    assert loads(text) == several
    assert '[[teacher.others]]\nmodel = "a:b"\ncheckpoint = "x"\n' in text
    assert text.count("[[teacher.others]]") == 2
    assert "each is a table [[teacher.others]] of fields as above." in " ".join(write_commented(plain).split())
