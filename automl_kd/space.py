"""Search spaces as data: parameters with domains, and one function that builds a network from values.

Sampling, mutation, crossover, counting, hashing and checking are written once here, for every space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.hashing import hash_json

if TYPE_CHECKING:
    from torch import Tensor, nn

Scalar = bool | int | float | str
Values = Mapping[str, Scalar]


def require_scalar(value: object, what: str) -> None:
    """`ValueError` unless it is plain: a point is stored as JSON, where a tuple would come back as a list."""
    if type(value) not in (bool, int, float, str) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(
            f"{value!r} is {what}, and must be true or false, a finite number or a text; name what it stands for, as "
            "'3-1-3', and take that apart in build"
        )


@dataclass(frozen=True)
class Choice:
    """One of `options`; no order is implied."""

    options: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        for option in self.options:
            require_scalar(option, f"an option of a choice, in {self.options}")
        if not self.options or len(set(self.options)) != len(self.options):
            raise ValueError(f"a choice needs distinct options, got {self.options}")

    def __contains__(self, value: object) -> bool:
        return any(value == option and type(value) is type(option) for option in self.options)


@dataclass(frozen=True)
class IntRange:
    """Integers `low, low + step, ...` up to and including `high`."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1 or self.high < self.low:
            raise ValueError(f"an integer range needs low <= high and step >= 1, got {self}")

    @property
    def options(self) -> range:
        """The integers, none of which is stored, so that a wide range costs no memory."""
        return range(self.low, self.high + 1, self.step)

    def __contains__(self, value: object) -> bool:
        return type(value) is int and value in self.options


@dataclass(frozen=True)
class FloatRange:
    """Real numbers in `[low, high]`, drawn uniformly, or uniformly in their logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not finite or not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"a real range needs finite low < high, and 0 < low if it is logarithmic, got {self}")

    def __contains__(self, value: object) -> bool:
        return type(value) is float and self.low <= value <= self.high


Domain = Choice | IntRange | FloatRange


@dataclass(frozen=True)
class When:
    """The condition under which a parameter exists: `parent` is active and has one of `values`."""

    parent: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            require_scalar(value, f"a value of the parent {self.parent!r}")


@dataclass(frozen=True)
class Parameter:
    domain: Domain
    when: When | None = None


@dataclass(frozen=True)
class InputShape:
    """What a network must accept and return: images `(channels, height, width)` in, `classes` logits out."""

    channels: int
    height: int
    width: int
    classes: int

    @property
    def many_inputs(self) -> str:
        """What it takes, in sentences."""
        return f"images of {self.channels}x{self.height}x{self.width}"

    one_noun: ClassVar[str] = "an image"

    @property
    def one_input(self) -> str:
        return f"an image of {self.channels}x{self.height}x{self.width}"

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def sized(self, height: int, width: int, classes: int, /) -> InputShape:
        """The same for images of another size, and so many classes."""
        return replace(self, height=height, width=width, classes=classes)

    def blank(self, batch: int, example: Tensor) -> Tensor:
        """Black images on the device and in the floating type of `example`."""
        return example.new_zeros((batch, self.channels, self.height, self.width))


TOKEN_PIXELS = 64
"""A token's outputs in a layer are about as large as those of so many pixels; maps of attention grow faster still."""


@dataclass(frozen=True)
class TextShape(InputShape):
    """Tokens int64 `(length,)` in, of any length up to `longest`; `classes` logits out.

    `width`: the length at which costs and latency are stated. `vocabulary`: tokens are 0 to that less 1. `padding`: the
    token that fills a batch up and is not looked at. `separator`: the token after which the second text of a pair
    begins, -1 where networks are not told that.
    """

    channels: int = field(default=1, init=False)
    height: int = field(default=1, init=False)
    width: int = 128
    classes: int = 2
    vocabulary: int = 30_522
    padding: int = 0
    separator: int = 102
    longest: int = 128

    @property
    def many_inputs(self) -> str:
        return f"texts of {self.width} tokens"

    one_noun: ClassVar[str] = "a text"

    @property
    def pixels(self) -> int:
        """As many as the longest text takes the room of."""
        return TOKEN_PIXELS * self.longest

    @property
    def one_input(self) -> str:
        return f"a text of {self.width} tokens"

    def sized(self, _height: int, _width: int, classes: int, /) -> InputShape:
        """The same for so many classes: texts have no other size."""
        return replace(self, classes=classes)

    def blank(self, batch: int, example: Tensor) -> Tensor:
        """Texts of the stated length on the device of `example`, none of whose tokens is padding."""
        other = (self.padding + 1) % self.vocabulary
        return example.new_full((batch, self.width), other).long()


def read_shape(record: Mapping[str, int]) -> InputShape:
    """The shape whose fields, from a file, have these values; `TypeError` for others."""
    if "vocabulary" not in record:
        return InputShape(**record)
    return TextShape(**{name: value for name, value in record.items() if name not in {"channels", "height"}})


@dataclass(frozen=True)
class Architecture:
    """One point of a space: the active values, sorted by name. Immutable and hashable."""

    values: tuple[tuple[str, Scalar], ...]

    @staticmethod
    def of(values: Values) -> Architecture:
        return Architecture(tuple(sorted(values.items())))

    def as_dict(self) -> dict[str, Scalar]:
        return dict(self.values)

    @property
    def key(self) -> str:
        """Twelve hex digits that depend on the values alone."""
        return hash_json(self.values, digits=12)


PreparePart = Callable[[str, Callable[[], "nn.Module"]], "nn.Module"]
"""Makes the part of a network that has this name in it, by the function given, with weights of its choice."""


@dataclass(frozen=True)
class SearchSpace:
    """A named family of students.

    `build` turns active values into a freshly initialised network for a task; it draws from torch's global generator,
    which the caller seeds. `source` names the paper, section or table. `default` is the student that a practitioner
    would take without a search: it stands in the baselines. `describe` prints a point; without it, `name=value` pairs.
    Parameters are ordered parents before children.

    What follows only saves time. `canonical`: a point that computes the same function at initialisation, the same one
    for all such points. `cost`: parameters and multiply-adds of a point, exactly, without building it. `part_cache`: a
    store of parts, made by a `PreparePart` when first needed, from which it assembles networks that share them, for
    scoring.
    """

    name: str
    source: str
    parameters: Mapping[str, Parameter]
    build: Callable[[Values, InputShape], nn.Module]
    default: Values
    describe: Callable[[Values], str] | None = None
    canonical: Callable[[Values], Values] | None = None
    cost: Callable[[Values, InputShape], tuple[int, int]] | None = None
    part_cache: Callable[[InputShape, PreparePart], Callable[[Values], nn.Module]] | None = None

    def __post_init__(self) -> None:
        for position, (name, parameter) in enumerate(self.parameters.items()):
            earlier = list(self.parameters)[:position]
            if parameter.when is not None and parameter.when.parent not in earlier:
                raise ValueError(f"parameter {name!r} must come after its parent {parameter.when.parent!r}")
        check_architecture(self, Architecture.of(self.default))

    def label(self, architecture: Architecture) -> str:
        values = architecture.as_dict()
        if self.describe is not None:
            return self.describe(values)
        return " ".join(f"{name}={value}" for name, value in values.items())


def is_active(parameter: Parameter, values: Values) -> bool:
    """Whether `parameter` exists beside `values`, which hold all of its ancestors that exist."""
    return parameter.when is None or values.get(parameter.when.parent) in parameter.when.values


def sample_architecture(space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """A point with every active parameter drawn independently and uniformly from its domain."""
    return complete(space, {}, rng)


def complete(space: SearchSpace, given: Values, rng: np.random.Generator) -> Architecture:
    """The point that keeps what of `given` is active and draws the rest."""
    values: dict[str, Scalar] = {}
    for name, parameter in space.parameters.items():
        if is_active(parameter, values):
            values[name] = given[name] if name in given else draw_from_domain(parameter.domain, rng)
    return Architecture.of(values)


def draw_from_domain(domain: Domain, rng: np.random.Generator) -> Scalar:
    if isinstance(domain, FloatRange):
        if domain.log:
            low, high = math.log(domain.low), math.log(domain.high)
            return min(max(math.exp(rng.uniform(low, high)), domain.low), domain.high)
        return float(rng.uniform(domain.low, domain.high))
    return domain.options[int(rng.integers(len(domain.options)))]


def mutate(space: SearchSpace, architecture: Architecture, rng: np.random.Generator) -> Architecture:
    """A point that differs in one active parameter, drawn uniformly among those that can change.

    Choices and integers take another option, uniformly; reals a normal step of a tenth of the range (of its logarithm
    if it is logarithmic), clipped. Parameters that this brings into being are drawn; those that it ends are dropped.
    """
    values = architecture.as_dict()
    movable = [name for name in values if domain_size(space.parameters[name].domain) > 1]
    if not movable:
        return architecture
    name = movable[int(rng.integers(len(movable)))]
    values[name] = step(space.parameters[name].domain, values[name], rng)
    return complete(space, values, rng)


def step(domain: Domain, value: Scalar, rng: np.random.Generator) -> Scalar:
    """Another value near `value`."""
    if isinstance(domain, FloatRange):
        assert isinstance(value, float)
        if domain.log:
            spread = 0.1 * math.log(domain.high / domain.low)
            moved = value * math.exp(rng.normal(0, spread))
        else:
            moved = value + rng.normal(0, 0.1 * (domain.high - domain.low))
        return float(min(max(moved, domain.low), domain.high))
    options: Sequence[Scalar] = domain.options
    index = int(rng.integers(len(options) - 1))
    return options[index + (index >= options.index(value))]


def cross(space: SearchSpace, one: Architecture, two: Architecture, rng: np.random.Generator) -> Architecture:
    """Uniform crossover: each parameter from one parent or the other, as far as they have it."""
    first, second = one.as_dict(), two.as_dict()
    if rng.random() < 0.5:
        first, second = second, first
    mixed = {
        name: first[name] if name in first and (name not in second or rng.random() < 0.5) else second[name]
        for name in space.parameters
        if name in first or name in second
    }
    return complete(space, mixed, rng)


def check_architecture(space: SearchSpace, architecture: Architecture) -> None:
    """Raise `InfeasibleArchitectureError` unless the point has exactly the active parameters, each in its domain."""
    values = architecture.as_dict()
    expected = [name for name, parameter in space.parameters.items() if is_active(parameter, values)]
    if missing := [name for name in expected if name not in values]:
        raise InfeasibleArchitectureError(
            f"space {space.name!r} needs a value for {missing[0]!r}; it has {', '.join(space.parameters)}"
        )
    if unknown := [name for name in values if name not in expected]:
        raise InfeasibleArchitectureError(
            f"space {space.name!r} has no active parameter {unknown[0]!r} here; active are {', '.join(expected)}"
        )
    for name in expected:
        if values[name] not in space.parameters[name].domain:
            raise InfeasibleArchitectureError(
                f"{name} = {values[name]!r} lies outside {space.parameters[name].domain} of space {space.name!r}"
            )


def domain_size(domain: Domain) -> float:
    return math.inf if isinstance(domain, FloatRange) else len(domain.options)


def count_points(space: SearchSpace) -> float:
    """How many points the space has, without one of them being made; infinitely many with a real-valued parameter."""

    def below(name: str) -> float:
        """Of a parameter that is active, and of all that depend on it."""
        domain = space.parameters[name].domain
        children = {child: one.when for child, one in space.parameters.items() if one.when and one.when.parent == name}
        if isinstance(domain, FloatRange):
            return math.inf
        awaited = {value for when in children.values() for value in when.values if value in domain.options}
        counts = (math.prod(below(child) for child, when in children.items() if one in when.values) for one in awaited)
        return len(domain.options) - len(awaited) + sum(counts)

    return math.prod(below(name) for name, one in space.parameters.items() if one.when is None)


def enumerate_all(space: SearchSpace) -> Iterator[Architecture]:
    """Every point once, the last parameter varying fastest. `ValueError` if a parameter is real-valued."""
    if any(isinstance(parameter.domain, FloatRange) for parameter in space.parameters.values()):
        raise ValueError(f"space {space.name!r} has a real-valued parameter and cannot be enumerated")
    names = list(space.parameters)

    def extend(position: int, values: dict[str, Scalar]) -> Iterator[Architecture]:
        if position == len(names):
            yield Architecture.of(values)
            return
        domain, name = space.parameters[names[position]].domain, names[position]
        if not is_active(space.parameters[name], values):
            yield from extend(position + 1, values)
            return
        assert not isinstance(domain, FloatRange)
        for option in domain.options:
            yield from extend(position + 1, {**values, name: option})

    yield from extend(0, {})
