"""The same small set of images in every form that a source may have."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from automl_kd.data import Source, read_source, resolve_path
from automl_kd.data.encoded.repack import pack_source
from automl_kd.data.fit import Fit
from automl_kd.spec import DataSpec

RNG = np.random.default_rng(3)
CLASSES = ("ant", "bee")
PARTS = {"train": 5, "val": 2, "test": 3}
HUGGING_FACE_NAMES = {"train": "train", "val": "validation", "test": "test"}

Samples = dict[str, list[tuple[str, int, bytes]]]  # by part: name, label, bytes


def picture(height: int = 6, width: int = 6, form: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(written, form)
    return written.getvalue()


def samples(form: str = "PNG", *, count: int = 1) -> Samples:
    return {
        part: [
            (f"{label}-{number:02d}", label, picture(form=form))
            for label in range(len(CLASSES))
            for number in range(count * several)
        ]
        for part, several in PARTS.items()
    }


def write_folder(top: Path, given: Samples, suffix: str = "png") -> str:
    for part, rows in given.items():
        for name, label, content in rows:
            (top / part / CLASSES[label]).mkdir(parents=True, exist_ok=True)
            (top / part / CLASSES[label] / f"{name}.{suffix}").write_bytes(content)
    return f"folder:{top}"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    tar.addfile(about, io.BytesIO(content))


def write_shards(top: Path, given: Samples, *, json_labels: bool = False, form: int = tarfile.PAX_FORMAT) -> str:
    """Two shards for each part, named after it."""
    top.mkdir(parents=True, exist_ok=True)
    (top / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    for part, rows in given.items():
        for number in range(2):
            half = rows[number * len(rows) // 2 : (number + 1) * len(rows) // 2]
            with tarfile.open(top / f"set-{part}-{number:06d}.tar", "w", format=form) as tar:
                for name, label, content in half:
                    add(tar, f"{name}.png", content)
                    text = json.dumps({"label": label}) if json_labels else str(label)
                    add(tar, f"{name}.{'json' if json_labels else 'cls'}", text.encode())
    return f"shards:{top}"


def write_parquet(top: Path, given: Samples, *, rows_of_group: int = 3) -> str:
    """Two files for each part, in PATH/data, as Hugging Face's library writes them."""
    (top / "data").mkdir(parents=True, exist_ok=True)
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    for part, rows in given.items():
        for number in range(2):
            half = rows[number * len(rows) // 2 : (number + 1) * len(rows) // 2]
            images = [{"bytes": content, "path": f"{name}.png"} for name, _, content in half]
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            labels = pa.array([label for _, label, _ in half], pa.int64())
            table = pa.table({"image": pa.array(images, kind), "label": labels}).replace_schema_metadata(about)
            name = f"{HUGGING_FACE_NAMES[part]}-{number:05d}-of-00002.parquet"
            pq.write_table(table, top / "data" / name, row_group_size=rows_of_group)
    return f"parquet:{top}"


def write_packed(top: Path, folder: str) -> str:
    pack_source(open_source(folder, top.parent / "root"), folder, top)
    return f"pack:{top}"


def write_arrays(file: Path, given: Samples) -> str:
    arrays: dict[str, Any] = {}
    for part, rows in given.items():
        arrays[f"x_{part}"] = np.stack([np.asarray(Image.open(io.BytesIO(content))) for _, _, content in rows])
        arrays[f"y_{part}"] = np.array([label for _, label, _ in rows])
    np.savez(file, **arrays)
    return f"arrays:{file}"


def open_source(name: str, root: Path, *, streamed: bool = True) -> Source:
    return read_source(resolve_path(DataSpec(name=name)), root, streamed=streamed)


def fit(size: int) -> Fit:
    return Fit(size)


def dim(file: Path) -> None:
    """Make it a grey image of 12 bits."""
    Image.fromarray(RNG.integers(0, 4096, (6, 6)).astype(np.uint16)).save(file)
