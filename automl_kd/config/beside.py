"""Files that an experiment names by a relative path: they lie beside it, wherever the command is typed."""

from __future__ import annotations

from pathlib import Path

from automl_kd.errors import ConfigError


def locate(name: str, folder: Path, key: str, *, needed: bool = True) -> str:
    """The absolute path of the file that the experiment in `folder` calls `name`.

    Where it is not there, the current folder is looked into. `ConfigError`, which says where was looked, if it is in
    neither, or another file in each. What is not `needed` yet has its place in `folder`. An absolute path, an address
    in a bucket and an empty name come back as they are.
    """
    if not name or "://" in name or name.startswith("~") or "\0" in name or Path(name).is_absolute():
        return name  # whether it is a path at all, its reader says
    places = list(dict.fromkeys(path.resolve() / name for path in (folder, Path())))
    found = [path for path in places if path.exists()]
    if not found:
        if not needed:
            return str(places[0])
        looked = " nor ".join(map(str, places))
        raise ConfigError(
            f"{key} = {name!r} names no file: there is no {looked}; give its path from {folder.resolve()}"
        )
    if len(found) == 2 and not found[0].samefile(found[1]):
        raise ConfigError(f"{key} = {name!r} may be {found[0]} or {found[1]}; give the absolute path of one")
    return str(found[0])
