"""`automl-kd pack`: copies a set of images into one file that is read fast at any place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from automl_kd import files, storage
from automl_kd.console.options import DataRoot
from automl_kd.console.screen import ProgressMode, ProgressOption, watching
from automl_kd.errors import ConfigError

if TYPE_CHECKING:
    from automl_kd.data import LoadProgress, Source


def make_pack(
    source: Annotated[
        str, typer.Argument(help="folder:PATH, shards:PATH, parquet:PATH, arrays:PATH.npz or pack:PATH.")
    ],
    out: Annotated[str, typer.Argument(help="A new folder for the pack, or that of an unfinished one.")],
    shorter_side: Annotated[
        int,
        typer.Option(min=0, max=4096, help="Reduce the shorter side of larger images to so many pixels; 0 does not."),
    ] = 0,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality of reduced images.")] = 95,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Leave out images that are empty, cut off or no images.")
    ] = False,
    data_root: DataRoot = "data",
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Pack images into one file, as they are or with their shorter side reduced.

    The same command continues a pack that was interrupted or killed. An experiment reads it as data.name = "pack:OUT".

    [bold]automl-kd pack folder:photos photos.pack[/bold]
    [bold]automl-kd pack shards:s3://BUCKET/imagenet imagenet.pack --shorter-side 256[/bold]
    """
    if "://" in out:
        raise ConfigError(f"{out} is no folder of this machine, where a pack is made; give one, and copy it afterwards")
    with watching(progress) as watcher:
        from automl_kd.experiment.progress.loading_stages import LoadingStages  # noqa: PLC0415 - torch is slow to import

        found = read_files(source, data_root, LoadingStages(watcher))
        total = sum(len(part) for part in (found.train, found.validation, found.test) if part is not None)
        watcher.stage(f"packing into {out}", total, "images")
        from automl_kd.data.encoded.repack import pack_source  # noqa: PLC0415 - torch is slow to import

        pack_source(
            found,
            source,
            files.expand(out),
            shorter_side=shorter_side,
            quality=quality,
            on_error="skip" if skip_errors else "fail",
            notify=lambda done, _of: watcher.step(done),
        )
    typer.echo(f'{describe_pack(out, total)}; set data.name = "pack:{out}"')


def read_files(name: str, data_root: str, notify: LoadProgress) -> Source:
    """Return the images that `name` names, as they are encoded; raise `ConfigError` for what is no set of files."""
    from automl_kd.data import STREAMED_FORMATS, read_source, resolve_path  # noqa: PLC0415 - torch is slow to import
    from automl_kd.spec import DataSpec  # noqa: PLC0415 - likewise

    if name.partition(":")[0] not in STREAMED_FORMATS:
        forms = ", ".join(f"{form}:PATH" for form in STREAMED_FORMATS)
        raise ConfigError(f"{name!r} is no set of files; give one of {forms}")
    root = storage.local_path(data_root)
    return read_source(resolve_path(DataSpec(name=name)), root, streamed=True, notify=notify)


def describe_pack(out: str, total: int) -> str:
    from automl_kd.data.encoded.pack import read_pack  # noqa: PLC0415 - torch is slow to import

    images = read_pack(files.expand(out)).images
    left_out = f", and {total - len(images):,} were left out as they cannot be read" * (total > len(images))
    return f"{out} holds {len(images):,} images in {int(images.length.sum()) / 1e6:,.1f} MB{left_out}"
