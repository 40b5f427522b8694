"""Turns an error in a user's code into one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from automl_kd.errors import AutoMLKDError, ConfigError, NetworkError
from automl_kd.space import InputShape


@contextmanager
def in_a_sentence(name: str, shape: InputShape, remedy: str = "choose another, or other images") -> Iterator[None]:
    """Turn any error of a user's network, in building or running it once, into a `ConfigError` that names it.

    `remedy`: what to do next.
    """
    try:
        yield
    except NetworkError as error:  # of a network that does not know what it is in the experiment
        raise ConfigError(f"the {name}: {error}") from error
    except AutoMLKDError:
        raise
    except Exception as error:  # a user's code may raise anything
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ConfigError(f"the {name} cannot be built and run on {shape.many_inputs} ({reason}); {remedy}") from error
