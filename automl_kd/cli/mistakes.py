"""Turns errors into the sentences that a user reads."""

from __future__ import annotations

import errno
import os

from automl_kd.errors import AutoMLKDError

ELSEWHERE = "choose another folder"
OS_ERROR_ADVICE = {
    errno.ENOSPC: "make room or choose another --out",
    errno.EDQUOT: "make room or choose another --out",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
        "bring the file system back",
    ),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST), ELSEWHERE),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.EINVAL), "check the path"),
}
"""Errors of the operating system that are not bugs, and the advice for each."""


def sentence_of(error: Exception) -> str | None:
    """Return the sentence for the user; None if the error is a bug of the program."""
    if isinstance(error, AutoMLKDError):
        return str(error)
    if isinstance(error, OSError) and error.errno in OS_ERROR_ADVICE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{os.strerror(error.errno)}; {OS_ERROR_ADVICE[error.errno]}, then run it again"
    # An error of the parser: typer bundles click in one version and imports it in another.
    if (say := getattr(error, "format_message", None)) is not None:
        given = "no command was given" if type(error).__name__ == "NoArgsIsHelpError" else str(say()).rstrip(".")
        given = given.replace("Value error, ", "")  # typer 0.29 passes it on from pydantic
        return f"{given}; --help lists commands and options"
    return None
