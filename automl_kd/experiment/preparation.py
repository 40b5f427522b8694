"""Prepares an experiment: everything it names is loaded, built once and checked before anything is trained."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from automl_kd import data, storage
from automl_kd.cluster.loggers import require_loggers
from automl_kd.config import POPULATIONS, Experiment, with_inits
from automl_kd.data import Dataset, plain_view
from automl_kd.errors import CheckpointError, ConfigError
from automl_kd.experiment.black_box import note_black_box
from automl_kd.experiment.context import OBJECTIVES, ExperimentContext, Roots
from automl_kd.experiment.forecast import forecast_in_full
from automl_kd.experiment.networks import (
    check_networks,
    count_teacher_cost,
    moving_methods,
    refuse_probabilities,
    single_precision,
)
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.progress.loading_stages import LoadingStages
from automl_kd.experiment.proposals import Proposal, combine, require_setting
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.experiment.stages.proxy_check import check_proxy_filter
from automl_kd.experiment.student_budget import with_default_within
from automl_kd.experiment.teacher_settings import settle_classes, settle_teacher, settle_tokenizer, settle_view
from automl_kd.experiment.teacher_shares import settle_shares, with_shares
from automl_kd.export import require_export_packages
from automl_kd.methods import dry_run_method, make_method, uses_unlabelled
from automl_kd.methods.dry_run import DRY_RUN_IMAGES
from automl_kd.methods.hyperparameters import (
    domain_of,
    ends,
    methods_of,
    occasions,
    settle_comparison,
    settle_hyperparameters,
    settle_options,
    teaching,
)
from automl_kd.methods.logits_only import require_more_than_logits
from automl_kd.methods.perturbed import changes_of, check_perturb, ranges_of
from automl_kd.methods.schedule import RECIPE, options_with
from automl_kd.models import load_space, pin_reference
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.costs.cost import evaluating
from automl_kd.models.pickled import label_pickled
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.profiling import DeviceProfile
from automl_kd.proxies import expand_proxies, proxy_entry
from automl_kd.registry import suggestion
from automl_kd.results.store.folder import read_experiment_record
from automl_kd.samplers import SearchObjective, make_sampler
from automl_kd.space import InputShape, Scalar, SearchSpace
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialSpec
from automl_kd.storage.content_hash import located_path, pin
from automl_kd.teacher_cache.plan import plan_cache, settle_outputs
from automl_kd.training.trial import build_teacher, teacher_shape

FAR_LABELS = 10.0
"""Beyond this root of their mean square numbers are refused; that of ages, 58, made trainings diverge at once."""

MOST_RECIPES = 1000
"""Recipes of a search among which one is looked for that a method can follow."""


def prepare_experiment(experiment: Experiment, roots: Roots, watcher: Watcher) -> ExperimentContext:
    """Load and check everything that `experiment` names; raise `AutoMLKDError` for what cannot be done.

    Writes only what `data.kept` keeps of large datasets.
    """
    experiment = resolve_experiment(experiment)
    found = load_space(experiment.space)
    require_one_student(experiment, found)
    require_packages(experiment)
    shown = LoadingStages(watcher)
    experiment = dataclasses.replace(experiment, data=data_as_loaded(experiment, roots, shown))
    dataset = data.load_data(experiment.data, roots.data, experiment.loader, shown)
    require_expected_images(experiment, dataset)
    require_scaled_labels(experiment, dataset, roots)
    if moving := moving_methods(experiment):
        require_more_than_logits(experiment.teacher, f"method {moving[0]!r} trains its teacher")
    experiment = settle_classes(experiment, dataset)
    experiment = dataclasses.replace(
        experiment,
        teacher=settle_outputs(experiment.teacher, dataset, experiment.recipe, experiment.teacher_cache),
    )
    account = data.account_of(dataset, roots.data)
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, digest=account["digest"]))
    teacher_macs = sum(count_teacher_macs(one, dataset, watcher) for one in experiment.teacher.members)
    context = ExperimentContext(
        experiment=experiment,
        roots=roots,
        watcher=watcher,
        space=found,
        searched=combine(found, experiment),
        dataset=dataset,
        account=account,
        objectives=tuple(map(parse_objective, experiment.search.objectives)),
        teacher_macs=teacher_macs,
        device_profile=read_profile(experiment.budget.profile, dataset.student_shape, watcher),
    )
    with in_a_sentence(f"students of {label_pickled(experiment.space)}", dataset.student_shape):
        context = with_default_within(context)
        experiment = context.experiment
    check_networks(context)
    check_teacher_cache(experiment)
    check_methods(context)
    note_unlabelled(context)
    note_teachers(context)
    note_cache_size(context)
    if experiment.stand_in.images:
        watcher.note(forecast_in_full(context))
    check_search(context)
    shares = settle_shares(experiment, dataset, context.folder, watcher)
    return dataclasses.replace(context, experiment=with_shares(experiment, shares), shares=shares)


def require_packages(experiment: Experiment) -> None:
    """Raise an error where what is asked for needs a package that is not installed."""
    require_loggers(experiment.trial.loggers)
    if experiment.export.int8:
        require_export_packages("set export.int8 = false")


def require_expected_images(experiment: Experiment, dataset: Dataset) -> None:
    """`ConfigError` for a set that is not complete, or has no classes where these are compared."""
    if experiment.export.int8 and not dataset.task.labels_are_classes:
        raise ConfigError(
            f"export.int8 compares the classes that students name, and data.task is {dataset.task.name!r}; drop it"
        )
    expected, found = experiment.expected_images, len(dataset.train) + len(dataset.validation)
    if expected and not experiment.data.train_images and found != expected:
        raise ConfigError(
            f"{experiment.data.name} has {found:,} images for training and validation, and expected_images is "
            f"{expected:,}; complete the set, or set expected_images = 0 to take it as it is"
        )


def require_scaled_labels(experiment: Experiment, dataset: Dataset, roots: Roots) -> None:
    """`ConfigError` for numbers so far from 0 that their squares end a training before it has begun.

    An experiment that an earlier session began goes on.
    """
    if not dataset.task.labels_are_numbers or (roots.results / experiment.name / "experiment.json").exists():
        return
    labels = dataset.train.labels.double()
    worst = int(labels.square().mean(dim=0).argmax())
    deviation, mean = (float(one) for one in torch.std_mean(labels[:, worst], correction=0))
    if math.hypot(mean, deviation) > FAR_LABELS:
        raise ConfigError(
            f"labels of {experiment.data.name} have the mean {mean:.4g} and deviation {deviation:.4g} in training "
            f"(output {worst}), and regression learns numbers near 0 with a deviation near 1; subtract the mean from "
            "all labels and divide them by the deviation, and turn predictions back"
        )


def data_as_loaded(experiment: Experiment, roots: Roots, notify: data.LoadProgress) -> DataSpec:
    """The images with `loading` settled: as an earlier session in the results folder did, on whatever machine."""
    record = roots.folder_of(experiment.name) / "experiment.json"
    storage.pull_file(record)
    if experiment.data.loading == "auto" and record.exists():
        known = read_experiment_record(record.parent).get("data", {})
        return dataclasses.replace(experiment.data, loading=known.get("loading", "auto"))
    return settle_first_loading(experiment, roots.data, notify)


def settle_first_loading(experiment: Experiment, root: Path, notify: data.LoadProgress) -> DataSpec:
    """The images, whose paths are resolved, with `loading` as a search settles it that begins here."""
    recipes = [experiment.recipe, *(() if experiment.teacher.checkpoint else (experiment.teacher.recipe,))]
    crops = any(recipe.augment == "random-resized-crop" for recipe in recipes)
    return data.settle_loading(experiment.data, root, random_crops=crops, notify=notify)


def require_one_student(experiment: Experiment, space: SearchSpace) -> None:
    """Raise `ConfigError` for a population of different students: none could copy the weights of another."""
    if experiment.search.scheduler in POPULATIONS and space.parameters and not experiment.comparison.methods:
        raise ConfigError(
            f"search.scheduler = '{experiment.search.scheduler}' needs one student, whose weights its trials take over "
            f"from each other, and {experiment.space} has {len(space.parameters)} parameters; name a model as in "
            "space = 'model:resnet20', or take another scheduler"
        )


def resolve_experiment(experiment: Experiment) -> Experiment:
    """Return the experiment with content hashes added to its files, and its options with the types of their fields."""
    methods = methods_of(experiment.hyperparameters, experiment.method)
    options = settle_options(methods, experiment.options)
    hyperparameters = settle_hyperparameters(experiment.hyperparameters, methods, options)
    check_perturb(experiment.search.perturb, experiment.method, options)
    space, teacher = pin_reference(experiment.space), settle_teacher(experiment.teacher)
    inits = with_inits(experiment, pin_init)
    profile = pin_profile(experiment.budget.profile)
    return dataclasses.replace(
        inits,
        space=space,
        teacher=teacher,
        options=options,
        hyperparameters=hyperparameters,
        data=settle_tokenizer(settle_view(data.resolve_path(experiment.data), teacher), teacher),
        comparison=settle_comparison(inits.comparison),
        budget=dataclasses.replace(experiment.budget, profile=profile),
    )


def pin_profile(file: str) -> str:
    if not file:
        return ""
    try:
        return pin(file)
    except ConfigError as error:
        raise ConfigError(f"budget.profile: {error}; automl-kd profile makes one") from error


def read_profile(file: str, shape: InputShape, watcher: Watcher) -> DeviceProfile | None:
    """The device of the budget, if it names one, which is noted."""
    if not file:
        return None
    profile = DeviceProfile.read(located_path(file))
    watcher.note(profile.describe_for(shape))
    return profile


def pin_init(file: str, key: str) -> str:
    try:
        return pin(file)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}, or take 'teacher' or 'fresh'") from error


def parse_objective(text: str) -> SearchObjective:
    """Raise `ConfigError` for objectives other than `OBJECTIVES`, such as anything measured on test images."""
    objective = SearchObjective.parse(text)
    if objective.name not in OBJECTIVES:
        raise ConfigError(f"search.objectives: {text!r} cannot be followed; {suggestion(objective.name, OBJECTIVES)}")
    return objective


def count_teacher_macs(teacher: TeacherSpec, dataset: Dataset, watcher: Watcher) -> int:
    """Multiply-adds of one teacher for an image, after making sure that it can be built and its file loaded."""
    with (
        torch.random.fork_rng(devices=[]),
        in_a_sentence(f"teacher {label_pickled(teacher.model)!r}", teacher_shape(teacher, dataset)),
    ):
        network = build_teacher(teacher, dataset)
        cost = count_teacher_cost(teacher, network, dataset)
    if teacher.checkpoint:
        check_weights(teacher, network, dataset, watcher)
    return cost.macs


def check_weights(teacher: TeacherSpec, network: nn.Module, dataset: Dataset, watcher: Watcher) -> None:
    """Load the teacher's file, note what was unwrapped, and raise an error for outputs that are no finite logits."""
    file = storage.local_path(teacher.checkpoint)
    if unwrapped := load_weights(network, file, teacher.weights):
        watcher.note(unwrapped)
    few = plain_view(dataset, dataset.validation, torch.arange(min(DRY_RUN_IMAGES, len(dataset.validation))))
    name = f"teacher {label_pickled(teacher.model)!r}"
    with in_a_sentence(name, dataset.shape), single_precision(name, network), evaluating(network), torch.no_grad():
        logits = network(few)
    if not dataset.task.labels_are_numbers:
        refuse_probabilities(teacher, network, few)
    if isinstance(network, BlackBox):
        note_black_box(network, few, watcher)
    if isinstance(logits, Tensor) and not torch.isfinite(logits).all():
        raise CheckpointError(
            f"checkpoint {file} has finite weights, but its outputs on validation images are not (NaN or "
            "infinite): variances of batch normalisation below 0 or weights too large do so; take another checkpoint"
        )


def check_teacher_cache(experiment: Experiment) -> None:
    """Raise `ConfigError` for options of a fixed teacher's outputs if none can be cached, or a method trains it."""
    moving = moving_methods(experiment)
    if not experiment.data.repeatable and experiment.teacher_cache.keep not in {"auto", "off"}:
        raise ConfigError(
            f"teacher_cache.keep = {experiment.teacher_cache.keep!r} needs views that are the same in every process, "
            "and data.transform is the user's own; set data.transform_deterministic = true if they are, or keep off"
        )
    asked = {
        "teacher_cache.keep": (experiment.teacher_cache.keep, "auto"),
        "teacher.outputs": (experiment.teacher.outputs, "exact"),
    }
    for option, (value, usual) in asked.items():
        if moving and value not in {usual, "off"}:
            raise ConfigError(
                f"{option} = {value!r} applies to a fixed teacher, and method {moving[0]!r} trains its teacher;"
                f" set {option} = {usual!r} or choose other methods"
            )


def check_methods(context: ExperimentContext) -> None:
    """Raise an error for feature layers, losses and files that do not fit the networks, before a teacher is trained."""
    experiment = context.experiment
    done: list[tuple[Recipe, str, Mapping[str, Scalar]]] = []
    for recipe, method, options in ways_to_try(context):
        if (recipe, method, options) in done:
            continue
        done.append((recipe, method, options))
        spec = TrialSpec(
            space=experiment.space,
            architecture=context.baseline,
            method=method,
            options=options,
            data=experiment.data,
            teacher=experiment.teacher,
            recipe=recipe,
            seed=experiment.seed,
        )
        with in_a_sentence(f"networks of method {method!r}", context.dataset.shape):
            dry_run_method(
                spec, context.dataset, context.trial_paths(spec, "cuda" if experiment.trial.device == "cuda" else "cpu")
            )


def ways_to_try(context: ExperimentContext) -> Iterator[tuple[Recipe, str, Mapping[str, Scalar]]]:
    """Every way of teaching with a recipe that it is tried by: that of its entry, or one of those that are searched.

    `ConfigError` for an entry that cannot follow its recipe, and where a search has no recipe for a method.
    """
    experiment = context.experiment
    for entry in experiment.comparison.methods:
        changes = {RECIPE + name: value for name, value in entry.recipe.items()}
        for combination in entry.combinations:
            recipe = require_setting(experiment, Proposal(context.baseline, entry.method, combination), changes)
            yield recipe, entry.method, combination
    for method, options in () if experiment.comparison.methods else teaching_ways(experiment):
        yield first_recipe(experiment, Proposal(context.baseline, method, options)), method, options


def first_recipe(experiment: Experiment, proposal: Proposal) -> Recipe:
    """The first recipe of a search that the method can follow: trials are refused by their own.

    `ConfigError` if it is none of those at the ends of what is searched.
    """
    searched = {
        name: ends(domain_of(one)) for name, one in experiment.hyperparameters.items() if name.startswith(RECIPE)
    }
    refused: list[ConfigError] = []
    for values in itertools.islice(itertools.product(*searched.values()), MOST_RECIPES):
        try:
            return require_setting(experiment, proposal, dict(zip(searched, values, strict=True)))
        except ConfigError as error:
            refused.append(error)
    raise refused[0]


def teaching_ways(experiment: Experiment) -> Iterator[tuple[str, Mapping[str, Scalar]]]:
    """Methods and options to check: those of the comparison, or of the search."""
    for entry in experiment.comparison.methods:
        yield from ((entry.method, options) for options in entry.combinations)
    if experiment.comparison.methods:
        return
    if perturb := experiment.search.perturb:
        lowest = changes_of(
            {name: one.low for name, one in ranges_of(perturb).items()}, experiment.method, experiment.options
        )
        yield experiment.method, options_with(lowest, experiment.options)
        return
    for values in occasions(experiment.hyperparameters, methods_of(experiment.hyperparameters, experiment.method)):
        with suppress(ConfigError):  # goes only together with other values
            yield teaching(values, experiment.method, experiment.options)


def note_unlabelled(context: ExperimentContext) -> None:
    """Note which methods train on the labelled images alone, where there are others."""
    if context.dataset.transfer is None:
        return
    ways = {method: make_method(method, options) for method, options in teaching_ways(context.experiment)}
    if left_out := [name for name, method in ways.items() if not uses_unlabelled(method)]:
        context.watcher.note(
            f"{', '.join(left_out)}: trains on the {len(context.dataset.train):,} labelled images alone, as it learns "
            f"from labels; the other {len(context.dataset.transfer) - len(context.dataset.train):,} are of no use to it"
        )


def note_cache_size(context: ExperimentContext) -> None:
    """Note what the outputs of a fixed teacher will take on disk, where that is much."""
    experiment = context.experiment
    options = dataclasses.replace(experiment.teacher_cache, keep=context.banking.keep)
    fixed = {method for method, _ in teaching_ways(experiment)} - {*moving_methods(experiment), "scratch"}
    sentence = plan_cache(experiment.teacher, context.dataset, experiment.recipe, options) if fixed else ""
    if sentence:
        context.watcher.note(sentence)


def note_teachers(context: ExperimentContext) -> None:
    """Note teachers that are the same file, and one whose images are cut out or resized otherwise than it wants."""
    members = context.experiment.teacher.members
    if len({(one.digest, one.weights) for one in members}) < len(members):
        context.watcher.note("two of the teachers are the same file: together they have the sum of their shares")
    for name in ("crop", "interpolation") if len(members) > 1 else ():
        seen = getattr(context.experiment.data, name)
        wanted = [(one.model, getattr(one.preprocessing, name)) for one in members]
        for model, value in [one for one in wanted if one[1] not in {"", 0, seen}][:1]:
            context.watcher.note(
                f"all teachers see one view of each image, with data.{name} = {seen!r}, and {label_pickled(model)} was "
                f"described with {value!r}"
            )


def check_search(context: ExperimentContext) -> None:
    """Raise `ConfigError` for an unknown sampler or proxy, and for what does not fit: options, objectives, networks."""
    settings = context.experiment.search
    make_sampler(
        settings.sampler,
        context.searched,
        objectives=context.objectives,
        seed=context.experiment.seed,
        options=settings.options,
    )
    for name in expand_proxies(settings.proxy_filter):
        if proxy_entry(name).needs_teacher:
            require_more_than_logits(context.experiment.teacher, f"proxy {name!r} reads the teacher's maps")
    check_proxy_filter(context)
