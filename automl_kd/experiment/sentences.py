"""What goes wrong in somebody else's code, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from automl_kd.errors import AutoMLKDError, ConfigError, NetworkError
from automl_kd.space import InputShape


@contextmanager
def in_a_sentence(name: str, shape: InputShape) -> Iterator[None]:
    """Whatever goes wrong in building or running somebody's network once, as a `ConfigError` that names it."""
    try:
        yield
    except NetworkError as error:  # of a network that does not know what it is in the experiment
        raise ConfigError(f"the {name}: {error}") from error
    except AutoMLKDError:
        raise
    except Exception as error:  # of somebody's code, which may raise anything
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        size = f"{shape.channels}x{shape.height}x{shape.width}"
        raise ConfigError(
            f"the {name} cannot be built and run on images of {size} ({reason}); choose another, or other images"
        ) from error
