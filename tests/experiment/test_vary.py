"""A search over students and ways of teaching them: which points there are, what they stand for, what is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd import experiment as stages
from automl_kd.config import Range, SearchSection, loads, to_record
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.experiment import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.proposals import Proposal
from automl_kd.experiment.stages.finals import line_up
from automl_kd.experiment.stages.search import Searching, make_search_sampler
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods import make_method
from automl_kd.methods.hyperparameters import occasions, settle_hyperparameters, write_weighted_sum
from automl_kd.results.store.folder import of_this_comparison, open_folder
from automl_kd.samplers import SAMPLERS
from automl_kd.space import Architecture, Choice, FloatRange, IntRange, When, check_architecture
from automl_kd.spec import Outcome
from tests import tiny

VARY: dict[str, Any] = {
    "method": ("kd", "weighted_losses", "prokt", "scratch"),
    "method.temperature": Range(low=1.0, high=10.0, log=True),
    "method.weight": (0.5, 0.7, 0.9),
    "method.losses.kd": Range(low=0.0, high=1.0),
    "method.losses.dist": (0, 1.5),
    "method.freeze": Range(low=0.0, high=0.5),
}

SEARCH = SearchSection(sampler="random", trials=6, scheduler="none")


def lab_of(root, **changes) -> ExperimentContext:
    plain = tiny.experiment(**{"method": "kd", "hyperparameters": VARY, "search": SEARCH, **changes})
    return prepare_experiment(plain, Roots(results=root / "results", data=root), Silent())


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> ExperimentContext:
    return lab_of(tmp_path_factory.mktemp("vary"))


def point(**hyperparameters) -> Architecture:
    return Architecture.of({"width": 4, **{name.replace("_", "."): value for name, value in hyperparameters.items()}})


def test_knobs_exist_for_the_methods_that_have_the_option(lab):
    parameters = lab.searched.parameters
    assert list(parameters) == ["width", *VARY]
    assert parameters["method"].domain == Choice(("kd", "weighted_losses", "prokt", "scratch"))
    assert parameters["method.temperature"].domain == FloatRange(1.0, 10.0, log=True)
    assert {name: one.when for name, one in parameters.items()} == {
        "width": None,
        "method": None,
        "method.temperature": When("method", ("kd", "prokt")),
        "method.weight": When("method", ("kd", "prokt")),
        "method.losses.kd": When("method", ("weighted_losses", "prokt")),
        "method.losses.dist": When("method", ("weighted_losses", "prokt")),
        "method.freeze": When("method", ("prokt",)),
    }


@pytest.mark.parametrize(
    ("hyperparameters", "method", "options"),
    [
        ({"method": "kd", "method_temperature": 2.0, "method_weight": 0.5}, "kd", {"temperature": 2.0, "weight": 0.5}),
        (
            {"method": "weighted_losses", "method_losses_kd": 0.25, "method_losses_dist": 0},
            "weighted_losses",
            {"losses": "kd=0.25"},
        ),
        (
            {"method": "weighted_losses", "method_losses_kd": 0.25, "method_losses_dist": 1.5},
            "weighted_losses",
            {"losses": "dist=1.5, kd=0.25"},
        ),
        ({"method": "scratch"}, "scratch", {}),
    ],
)
def test_what_a_point_stands_for(lab, hyperparameters, method, options):
    one = point(**hyperparameters)
    check_architecture(lab.searched, one)
    assert lab.proposal(one) == Proposal(Architecture.of({"width": 4}), method, options)
    assert lab.allowed(one)


def test_a_sum_in_which_no_loss_is_left_is_not_proposed(lab):
    empty = point(method="weighted_losses", method_losses_kd=0.0, method_losses_dist=0)
    check_architecture(lab.searched, empty)
    assert not lab.allowed(empty)


def test_weights_in_words():
    assert write_weighted_sum({"kd": 0.1, "at": 1e-05, "nst": 0.0}) == "kd=0.1, at=1e-05"
    assert write_weighted_sum({"kd": 1, "ce": 0.0}) == "kd=1, ce=0.0"
    with pytest.raises(ConfigError, match=r"^every loss but that on the labels has the weight 0 \(kd, ce\)"):
        write_weighted_sum({"kd": 0.0, "ce": 1.0})


@given(weight=st.floats(min_value=0, max_value=1e30, allow_subnormal=True))
def test_a_weight_is_read_back_to_the_last_bit(weight):
    weights = {part.name: part.weight for part in read_mix(write_weighted_sum({"kd": 1.0, "dist": weight})).parts}
    assert weights.get("dist", 0.0) == weight


def test_without_vary_the_space_is_the_students_own(tmp_path):
    plain = lab_of(tmp_path, hyperparameters={})
    assert plain.searched is plain.space
    assert plain.proposal(point()) == Proposal(Architecture.of({"width": 4}), "kd", {})


def test_options_hold_for_every_method_that_has_them_and_numbers_take_their_types(tmp_path):
    vary = {"method": ("kd", "weighted_losses", "prokt"), "method.weight": (0, 1)}
    context = lab_of(tmp_path, hyperparameters=vary, options={"temperature": 2})
    assert dict(context.experiment.options) == {"temperature": 2.0}
    assert context.experiment.hyperparameters["method.weight"] == (0.0, 1.0)
    told = [context.proposal(point(method=name, method_weight=1.0)).options for name in ("kd", "prokt")]
    assert told == [{"temperature": 2.0, "weight": 1.0}] * 2
    assert [type(value) for value in told[0].values()] == [float, float]
    assert context.proposal(point(method="weighted_losses")).options == {}


@pytest.mark.parametrize(
    ("methods", "kept"), [(("kd", "prokt"), {"temperature": 2.0}), (("weighted_losses", "prokt"), {})]
)
def test_plain_kd_keeps_the_options_only_where_it_is_among_the_methods(tmp_path, methods, kept):
    context = lab_of(tmp_path, hyperparameters={"method": methods}, options={"temperature": 2.0})
    tiny.leave_teacher(context)
    (baseline,) = (
        one.proposal for one in line_up(context, context.proposal(point(method="prokt"))) if one.role == "default-kd"
    )
    assert baseline.options == kept


def test_whole_ends_make_a_range_of_whole_numbers(tmp_path):
    vary = {"method.interval": Range(low=2, high=9, step=3), "method.look_ahead": (1, 2)}
    context = lab_of(tmp_path, method="lkd", hyperparameters=vary)
    assert context.searched.parameters["method.interval"].domain == IntRange(2, 9, 3)
    assert context.searched.parameters["method.interval"].when is None
    assert context.proposal(point(method_interval=5)).options == {"interval": 5}


@pytest.mark.slow
def test_values_that_go_only_apart_are_not_proposed_together(tmp_path):
    # The free form has no weights to hold to 1, so that it refuses an anchor.
    context = lab_of(
        tmp_path, method="lkd", hyperparameters={"method.form": ("weighted", "free"), "method.anchor": (0.0, 0.5)}
    )
    allowed = [
        (form, anchor)
        for form in ("weighted", "free")
        for anchor in (0.0, 0.5)
        if context.allowed(point(method_form=form, method_anchor=anchor))
    ]
    assert allowed == [("weighted", 0.0), ("weighted", 0.5), ("free", 0.0)]


def test_the_labels_alone_may_be_left_out_throughout(tmp_path):
    vary = {"method.losses.kd": (0.5, 1.0), "method.losses.ce": (0.0,)}
    context = lab_of(tmp_path, method="weighted_losses", hyperparameters=vary)
    assert context.proposal(point(method_losses_kd=0.5, method_losses_ce=0.0)).options == {"losses": "ce=0.0, kd=0.5"}


def test_a_file_by_two_paths_is_one_value(tmp_path, monkeypatch):
    (tmp_path / "one.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^hyperparameters.method.process has the value '.*one.json@sha256-.*' twice; keep one$"
    ):
        settle_hyperparameters({"method.process": ("one.json", "./one.json")}, ("distpro",), {})


def test_each_value_is_rehearsed_once_beside_the_first_of_the_others_and_with_all_losses():
    vary: dict[str, Any] = {
        "method": ("kd", "prokt"),
        "method.temperature": Range(low=1, high=9, step=3),
        "method.start": ("finetuned", "scratch"),
        "method.losses.kd": (0.0, 1.0),
    }
    kd = [{"method": "kd", "method.temperature": value} for value in (1, 7)]
    first = {"method": "prokt", "method.temperature": 1, "method.start": "finetuned", "method.losses.kd": 1.0}
    prokt = [first, {**first, "method.temperature": 7}, {**first, "method.start": "scratch"}]
    assert occasions(vary, ("kd", "prokt")) == kd + prokt


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"hyperparameters": {"method": ("kd", "distill")}},
            UnknownNameError,
            "no method is called 'distill'; did you mean",
        ),
        ({"hyperparameters": {"method": (1, 2)}}, ConfigError, "hyperparameters.method should list names of methods"),
        (
            {"hyperparameters": {"method": Range(low=1, high=2)}},
            ConfigError,
            "hyperparameters.method should list names of methods",
        ),
        (
            {"hyperparameters": {"temperature": (1.0,)}},
            ConfigError,
            "hyperparameters have no 'temperature'; write method, method.OPTION, method",
        ),
        (
            {"hyperparameters": {"method.tempreture": (1.0,)}},
            ConfigError,
            "hyperparameters.method.tempreture: no method of kd has an option 'tempreture'; did you mean 'temperature'",
        ),
        (
            {"hyperparameters": {"method": ("kd", "weighted_losses"), "method.freeze": (0.5,)}},
            ConfigError,
            "hyperparameters.method.freeze: no method of kd, weighted_losses has an option 'freeze'; known are losses",
        ),
        (
            {"hyperparameters": {"method.losses.kd": (0.5,)}},
            ConfigError,
            "hyperparameters.method.losses.kd: no method of kd has an option",
        ),
        (
            {"hyperparameters": {"method.weight": Range(low=0.5, high=1.5)}},
            ConfigError,
            r"hyperparameters.method.weight cannot be 1.5: options of method 'kd': weight must lie in \[0, 1\]",
        ),
        (
            {"hyperparameters": {"method.temperature": (1.0, "hot")}},
            ConfigError,
            "hyperparameters.method.temperature cannot be 'hot': options of method 'kd': temperature = \"hot\" does",
        ),
        (
            {"method": "lkd", "hyperparameters": {"method.interval": Range(low=1.5, high=9)}},
            ConfigError,
            "hyperparameters.method.interval cannot be 1.5: options of method 'lkd': interval = 1.5 does not fit",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.kdd": (0.5,)}},
            UnknownNameError,
            "no loss is called 'kdd'; did you mean",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.kd": (0.5, -1.0)}},
            ConfigError,
            "hyperparameters.method.losses.kd cannot be -1.0: .*kd must be a weight >= 0",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.kd": (True, 0.5)}},
            ConfigError,
            "hyperparameters.method.losses.kd cannot be True; give weights as numbers",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.ce": (0.0, 0.5)}},
            ConfigError,
            "hyperparameters have no weight but that of the labels; add one of a loss",
        ),
        (
            {
                "method": "weighted_losses",
                "hyperparameters": {"method.losses.kd": (0.5,), "method.losses.dist": (0.0,)},
            },
            ConfigError,
            r"hyperparameters.method.losses.dist leaves the loss out throughout; drop it, or give a weight above 0",
        ),
        (
            {"method": "lkd", "hyperparameters": {"method.form": ("free",), "method.anchor": (1.0,)}},
            ConfigError,
            r"none of 500 points of \[hyperparameters\] can be tried",
        ),
        (
            {"hyperparameters": {"method": ("kd", "os:path")}},
            ConfigError,
            "'os:path' is no method, since it is a module; name a",
        ),
        (
            {"hyperparameters": {"method": ("automl_kd.spec:Recipe",)}},
            ConfigError,
            ".* is no method, since it lacks needs_teacher; name",
        ),
        (
            {"hyperparameters": {}, "method": "builtins:dict"},
            ConfigError,
            ".* is no method, since it is not a frozen dataclass;",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.os:path": (1,)}},
            ConfigError,
            "'os:path' is no loss, ",
        ),
        (
            {"hyperparameters": {"method.temperature": Range(low=1, high=2**63 - 1)}},
            ConfigError,
            "hyperparameters.method.temperature has 9,223,372,036,854,775,807 whole numbers, more than 1,000,000; give",
        ),
        (
            {"method": "subgraph", "hyperparameters": {"method.params_limit": (300, 10)}},
            ConfigError,
            "a budget of 10 params lies below the",
        ),
        (
            {"method": "subgraph", "hyperparameters": {"method.macs_limit": Range(low=10, high=10**6)}},
            ConfigError,
            "a budget of 10 macs lies below the",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.kd": (0.5,), "method.losses": ("kd",)}},
            ConfigError,
            "hyperparameters have 'method.losses', the whole sum, and 'method.losses.kd', a part of it; keep one",
        ),
        (
            {"method": "weighted_losses", "options": {"losses": "kd"}, "hyperparameters": {"method.losses.kd": (0.5,)}},
            ConfigError,
            "'losses' is set in options and 'method.losses.kd' in hyperparameters; keep one of the two",
        ),
        (
            {"options": {"warmth": 1.0}, "hyperparameters": {"method": ("kd", "weighted_losses")}},
            ConfigError,
            "options: no method of kd, weighted_losses has an option 'warmth'; known are losses, temperature, weight",
        ),
        (
            {"method": "weighted_losses", "hyperparameters": {"method.losses.at": (0, 10)}},
            UnknownNameError,
            "the student: ",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_sentence_and_leaves_nothing(tmp_path, changes, error, sentence):
    with pytest.raises(error, match=f"^{sentence}") as caught:
        lab_of(tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_parameter_of_the_student_that_is_called_like_a_knob_is_refused(tmp_path, monkeypatch):
    parameters = {**tiny.SPACE.parameters, "method": tiny.SPACE.parameters["width"]}
    awkward = dataclasses.replace(tiny.SPACE, parameters=parameters, default={"width": 4, "method": 2})
    monkeypatch.setattr(tiny, "SPACE", awkward)
    with pytest.raises(ConfigError, match=r"^space 'tiny' has a parameter 'method' of its own; rename it, or drop"):
        lab_of(tmp_path)


def accuracy(one: Proposal) -> float:
    """What a trial is pretended to reach: wide students do best, and kd better than the others."""
    return 0.5 + float(one.architecture.as_dict()["width"]) / 50 + 0.1 * (one.method == "kd")


def ended(assignment) -> Outcome:
    spec = assignment.spec
    metrics = {"val_accuracy": accuracy(Proposal(spec.architecture, spec.method, spec.options)), "params": 10.0}
    return Outcome(status="complete", metrics=metrics, epoch=spec.recipe.epochs)


def sitting(context: ExperimentContext, trials: range) -> list[tuple[str, str]]:
    """So many trials of a search, asked and told one after the other; the key and the method of each."""
    open_folder(context.folder, to_record(context.experiment))
    searching, seen = Searching(context), []
    for index in trials:
        assignment = searching.ask(index)
        assert assignment is not None
        outcome = ended(assignment)
        curve = dict.fromkeys(range(1, outcome.epoch + 1), outcome.metrics)
        searching.on_outcome(assignment.spec, outcome, curve)
        seen.append((assignment.spec.key, assignment.spec.method))
    return seen


SMALL = {"evolution": {"population": 4, "tournament": 2}, "nsga2": {"population": 4}, "tpe": {"startup": 3}}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_that_was_killed_proposes_the_same_again_and_goes_on_alike(tmp_path, name):
    search = dataclasses.replace(SEARCH, sampler=name, options=SMALL.get(name, {}), trials=14)
    whole = sitting(lab_of(tmp_path / "whole", search=search), range(14))
    assert len(set(whole)) == 14
    sitting(lab_of(tmp_path / "cut", search=search), range(9))
    assert sitting(lab_of(tmp_path / "cut", search=search), range(14)) == whole
    lines = (tmp_path / "cut" / "results" / "tiny" / "proposals.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 14
    assert all({"width", "method"} <= set(json.loads(line)) for line in lines)
    assert len({method for _, method in whole}) > 1


def test_a_journal_of_students_alone_is_still_read(tmp_path):
    plain = {"hyperparameters": {}, "method": "kd", "options": {"temperature": 2.0}}
    folder = lab_of(tmp_path, **plain).folder
    folder.mkdir(parents=True)
    (folder / "proposals.jsonl").write_text('{"width": 3}\n{"width": 9}\n', encoding="utf-8")
    searching = Searching(lab_of(tmp_path, **plain))
    specs = [assignment.spec for index in range(3) if (assignment := searching.ask(index))]
    assert [spec.architecture.as_dict()["width"] for spec in specs[:2]] == [3, 9]
    assert [(spec.method, dict(spec.options)) for spec in specs] == [("kd", {"temperature": 2.0})] * 3


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 999))
def test_every_proposer_names_points_that_a_trial_can_be_made_of(lab, name, seed):
    search = dataclasses.replace(SEARCH, sampler=name, options=SMALL.get(name, {}))
    one = dataclasses.replace(lab, experiment=dataclasses.replace(lab.experiment, search=search, seed=seed))
    seen: list[Architecture] = []
    sampler = make_search_sampler(one, lambda candidate: candidate not in seen)
    for index in range(12):
        candidate = sampler.ask(index)
        check_architecture(one.searched, candidate)
        proposal = one.proposal(candidate)
        make_method(proposal.method, proposal.options)
        sampler.tell(
            index, candidate, Outcome(status="complete", metrics={"val_accuracy": accuracy(proposal)}, epoch=3)
        )
        seen.append(candidate)
    keys = {one.proposal(candidate).key for candidate in seen}
    assert len(keys) == len(seen)


def test_a_screened_search_judges_a_student_once_and_keeps_the_proposers_order(tmp_path):
    vary = {"method.weight": Range(low=0.1, high=0.9)}
    plain = dataclasses.replace(SEARCH, pool=30)
    context = lab_of(tmp_path, hyperparameters=vary, search=dataclasses.replace(plain, proxy_filter=("params",)))
    chosen = make_search_sampler(context, lambda _: True).ask(0)
    bare = dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, search=plain))
    pool = [make_search_sampler(bare, lambda _: True).ask(0, draw) for draw in range(30)]
    widest = max(one.as_dict()["width"] for one in pool)
    best = [one for one in pool if one.as_dict()["width"] == widest]
    assert len(best) > 1
    assert chosen == best[0]


def test_a_table_in_a_file_and_on_the_command_line():
    text = 'name = "x"\nspace = "tests.tiny:SPACE"\n[hyperparameters]\nmethod = ["kd", "weighted_losses"]\n'
    quoted = loads(text + '"method.temperature" = { low = 1, high = 4.5 }\n"method.losses.kd" = [0.0, 1.0]\n')
    by_hand = loads(
        text,
        ["hyperparameters.method.temperature={ low = 1, high = 4.5 }", 'hyperparameters."method.losses.kd"=[0.0, 1.0]'],
    )
    bare = loads('name = "x"\nspace = "tests.tiny:SPACE"\n[hyperparameters.method]\nlosses.kd = [0.0, 1.0]\n')
    assert quoted == by_hand
    assert quoted.hyperparameters["method.temperature"] == Range(low=1, high=4.5)
    assert bare.hyperparameters == {"method.losses.kd": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("method = 5", "experiment: hyperparameters.method = 5 does not fit; it should be a valid array"),
        (
            '"method.a" = { low = 1, hgh = 3 }',
            "experiment: unknown key 'hyperparameters.method.a.hgh'; did you mean 'high'?",
        ),
        ('"method.a" = { low = 1 }', "experiment: hyperparameters.method.a.high is missing; add it"),
        (
            '"method.a" = { low = 2, high = 1 }',
            "experiment: hyperparameters.method.a: low must lie below high, got 2 and 1",
        ),
        (
            '"method.a" = { low = 0, high = 1, log = true }',
            "experiment: hyperparameters.method.a: a logarithmic range must begin",
        ),
        (
            '"method.a" = { low = 0.5, high = 1, step = 2 }',
            "experiment: hyperparameters.method.a: step is for whole numbers; drop",
        ),
        (
            '"method.a" = { low = 1, high = inf }',
            "experiment: hyperparameters.method.a.high is inf; it should be a finite number",
        ),
        ('"method.a" = [1, 1]', "experiment: hyperparameters.method.a needs one or more distinct values, got (1, 1)"),
        ('"method.a" = []', "experiment: hyperparameters.method.a needs one or more distinct values, got ()"),
    ],
)
def test_a_table_that_says_no_domain_is_one_sentence(table, sentence):
    with pytest.raises(ConfigError) as caught:
        loads(f'name = "x"\nspace = "tests.tiny:SPACE"\n[hyperparameters]\n{table}\n')
    assert str(caught.value).startswith(sentence)


@pytest.mark.ray
def test_a_search_over_methods_alone_ends_in_a_truth_table_and_continues(ray_session, tmp_path):
    vary = {"method": ("kd", "weighted_losses"), "method.temperature": (1.0, 8.0), "method.losses.dist": (0.0, 2.0)}
    roots = Roots(results=tmp_path / "results", data=tmp_path)

    def carry_out(trials: int) -> ExperimentContext:
        search = dataclasses.replace(SEARCH, trials=trials, proxy_filter=("params",))
        one = tiny.experiment(space="model:tests.tiny:teacher", method="kd", hyperparameters=vary, search=search)
        return stages.run_stages(one, roots, Silent())

    before = carry_out(1).table.read()
    lab = carry_out(5)
    rows = of_this_comparison(lab.folder, lab.table.read())
    search = rows[rows["trial_kind"] == "search"]
    # three points make a trial: two temperatures, and the one sum that is not empty
    assert sorted(zip(search["method"], search["options_json"], strict=True)) == [
        ("kd", '{"temperature": 1.0}'),
        ("kd", '{"temperature": 8.0}'),
        ("weighted_losses", '{"losses": "dist=2.0"}'),
    ]
    assert set(search["status"]) == {"complete"}
    first = search.set_index("proposal").loc[0]
    assert first["started"] == before[before["trial_kind"] == "search"]["started"].iloc[0]
    best = search.sort_values("val_accuracy").iloc[-1]
    final = rows[rows["trial_kind"] == "final"].set_index("role")
    tied = search[search["val_accuracy"] == best["val_accuracy"]]
    assert final.loc["found-method", "options_json"] in set(tied["options_json"])
    assert final.loc["default-kd", "options_json"] == "{}"
    assert (final["train_macs"] >= final.loc["found-method", "train_macs"]).all()
