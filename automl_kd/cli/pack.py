"""`automl-kd pack`: copies a set of images into one file that is read fast at any place."""

from __future__ import annotations

from typing import Annotated

import typer

from automl_kd import files, storage
from automl_kd.console.options import DataRoot
from automl_kd.console.screen import ProgressMode, ProgressOption, watching
from automl_kd.errors import ConfigError


def pack(
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
    place = files.expand(out)
    with watching(progress) as watcher:
        from automl_kd.data import STREAMED_FORMATS, read_source, resolve_path  # noqa: PLC0415 - torch is slow to import
        from automl_kd.data.encoded.pack import read_pack  # noqa: PLC0415 - likewise
        from automl_kd.data.encoded.repack import pack_source  # noqa: PLC0415 - likewise
        from automl_kd.spec import DataSpec  # noqa: PLC0415 - likewise

        if source.partition(":")[0] not in STREAMED_FORMATS:
            forms = ", ".join(f"{form}:PATH" for form in STREAMED_FORMATS)
            raise ConfigError(f"{source!r} is no set of files; give one of {forms}")
        found = read_source(resolve_path(DataSpec(name=source)), storage.local_path(data_root), streamed=True)
        total = sum(len(part) for part in (found.train, found.validation, found.test) if part is not None)
        watcher.stage(f"packing into {out}", total, "images")
        pack_source(
            found,
            source,
            place,
            shorter_side=shorter_side,
            quality=quality,
            on_error="skip" if skip_errors else "fail",
            notify=lambda done, _of: watcher.step(done),
        )
    images = read_pack(place).images
    left_out = f", {total - len(images):,} left out as they cannot be read" * (total > len(images))
    size = int(images.length.sum()) / 1e9
    typer.echo(f'{out} holds {len(images):,} images in {size:.2f} GB{left_out}; set data.name = "pack:{out}"')
