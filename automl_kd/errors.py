"""Errors a caller may want to catch.

AutoMLKDError
├── ConfigError                  an experiment file, or a choice on the command line, cannot be carried out
│   └── RecordError              a record that a Python program makes does not fit its fields (a ValueError as well)
├── UnknownNameError             a name is in no table
├── InfeasibleArchitectureError  a point lies outside its search space
├── FileError                    a file cannot be read: it is not there, no file at all, too large, or not text
├── DataError                    images are missing, damaged, or do not fit the models
├── CheckpointError              saved weights do not fit the network that is to load them
├── ExportError                  a student cannot be written in a form, or that form does other than the student
├── ResultError                  a results folder or a row does not fit what was expected of it
├── StorageError                 a bucket cannot be reached, read or written, or another machine writes to it
└── TrialError                   one trial cannot go on; the search can
    ├── NetworkError             a network does in its forward pass what cannot be used, and would another time
    └── DivergedError            its numbers are no longer finite, and would not be another time

StopTrial                        not a failure: the scheduler ended this trial early

Each message is one sentence: what was got, what was wanted and the next step.
"""


class AutoMLKDError(Exception):
    """Base of all errors that this package raises on purpose; the command line prints one sentence and exits with 2."""


class ConfigError(AutoMLKDError):
    """An experiment cannot be carried out as written."""


class RecordError(ConfigError, ValueError):
    """A record that a Python program makes does not fit its fields."""


class UnknownNameError(AutoMLKDError):
    """A name is in no table."""


class InfeasibleArchitectureError(AutoMLKDError):
    """A point lies outside its search space."""


class FileError(AutoMLKDError, OSError):
    """A named file cannot be read. As an `OSError` it has `errno`, `strerror` (why) and `filename`."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be read: {self.strerror}; check the path"


class DataError(AutoMLKDError):
    """Images are missing, damaged, or do not fit the models."""


class CheckpointError(AutoMLKDError):
    """Saved weights do not fit the network that is to load them."""


class ExportError(AutoMLKDError):
    """A student cannot be written in a form, or what was written does not do what the student does."""


class ResultError(AutoMLKDError):
    """A results folder or a row does not fit what was expected of it."""


class StorageError(AutoMLKDError):
    """A bucket cannot be reached, read or written, or another machine is writing to the same place."""


class TrialError(AutoMLKDError):
    """One trial cannot go on; its reason is recorded in its row and the search continues."""


class NetworkError(TrialError):
    """A network returns no logits, or writes over what others read."""


class DivergedError(TrialError):
    """A loss, weight or metric is not finite; another try gives the same numbers."""


class StopTrial(BaseException):
    """The scheduler ended this trial early. Whoever sees it lets it pass."""
