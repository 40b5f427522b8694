"""Files of this machine: written whole or not at all, and read only where they are files.

The only code that makes scratch files, syncs or locks. Whoever writes into a folder that may stand for a bucket goes
through `storage`, which writes by this room and sends what was written.
"""

from automl_kd.files.atomic import (
    append_line,
    copy_folder,
    create,
    created,
    flush_to_disk,
    is_scratch,
    making_folder,
    remove_abandoned,
    replacing,
    whole_lines,
    write,
)
from automl_kd.files.locks import try_lock, wait_lock
from automl_kd.files.reading import (
    TEXT_LIMIT,
    expand,
    open_file,
    read_bytes,
    read_json,
    read_text,
    require_file,
)

__all__ = [
    "TEXT_LIMIT",
    "append_line",
    "copy_folder",
    "create",
    "created",
    "expand",
    "flush_to_disk",
    "is_scratch",
    "making_folder",
    "open_file",
    "read_bytes",
    "read_json",
    "read_text",
    "remove_abandoned",
    "replacing",
    "require_file",
    "try_lock",
    "wait_lock",
    "whole_lines",
    "write",
]
