"""run.py of an export: names the classes of image files by student.onnx, without torch and without this project."""

from __future__ import annotations

from collections.abc import Iterator

from automl_kd.export.student_input import StudentInput
from automl_kd.export.text_input import TextInput

MODES = {1: "L", 3: "RGB"}

TEMPLATE = '''"""Names classes of images: python run.py photo.jpg ... Needs onnxruntime, numpy and Pillow alone."""

import json
import sys
from pathlib import Path

import numpy
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).parent
session = onnxruntime.InferenceSession(str(HERE / "student.onnx"))
labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))


def prepare(path):
    picture = ImageOps.exif_transpose(Image.open(path)).convert("{mode}")
{steps}


for path in sys.argv[1:]:
    (outputs,) = session.run(None, {{"images": prepare(path)[None]}})
    print(path, labels[int(outputs[0].argmax())])
'''


TEXT_TEMPLATE = '''"""Names classes of texts: python run.py TEXT ... Needs onnxruntime, numpy and tokenizers alone."""

import json
import sys
from pathlib import Path

import numpy
import onnxruntime
from tokenizers import Tokenizer

HERE = Path(__file__).parent
session = onnxruntime.InferenceSession(str(HERE / "student.onnx"))
labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
tokenizer.enable_truncation({max_length})
tokenizer.no_padding()

for text in sys.argv[1:]:
    ids = numpy.array([tokenizer.encode(text).ids], numpy.int64)
    (outputs,) = session.run(None, {{"input_ids": ids, "attention_mask": numpy.ones_like(ids)}})
    print(text, labels[int(outputs[0].argmax())])
'''


def write_run_program(given: StudentInput | TextInput, *, takes_bytes: bool) -> str:
    """The program. `takes_bytes`: whether the graph normalises.

    It reads images of 8 bits; of others, and of transparent ones, `StudentInput` knows more.
    """
    if isinstance(given, TextInput):
        return TEXT_TEMPLATE.format(max_length=given.max_length)
    mode = MODES.get(given.shape.channels, "RGB")
    lines = [*picture_lines(given), *array_lines(given, takes_bytes=takes_bytes)]
    return TEMPLATE.format(mode=mode, steps="\n".join(f"    {line}" for line in lines))


def picture_lines(given: StudentInput) -> Iterator[str]:
    """From a picture of any size to one of the student's; as `center_square` does it."""
    fit, size = given.fit, given.shape.height
    if not fit.size:
        return
    side, how = fit.scaled_side, f"Image.Resampling.{fit.interpolation.upper()}"
    nearest = not fit.resize and fit.crop == 1
    if fit.resize == "squash":
        yield f"picture = picture.resize(({side}, {side}), {how})"
    elif nearest:
        yield f"sides = [max({side}, round({side} / min(picture.size) * one)) for one in picture.size]"
        yield f"picture = picture.resize(sides, {how})"
    else:
        yield f"sides = [{side} * one // min(picture.size) for one in picture.size]"
        yield f"picture = picture.resize(sides, {how})"
    middle = f"(one - {fit.size}) // 2" if nearest or fit.resize == "transformers" else f"round((one - {fit.size}) / 2)"
    yield f"left, top = ({middle} for one in picture.size)"
    yield f"picture = picture.crop((left, top, left + {fit.size}, top + {fit.size}))"
    if fit.size != size:
        yield f"picture = picture.resize(({size}, {size}), Image.Resampling.BILINEAR)"


def array_lines(given: StudentInput, *, takes_bytes: bool) -> Iterator[str]:
    grey = given.shape.channels == 1
    if takes_bytes:
        yield f"return numpy.asarray(picture){'[..., None]' if grey else ''}"
        return
    yield f"pixels = numpy.asarray(picture, numpy.float32){'[None]' if grey else '.transpose(2, 0, 1)'} / 255"
    mean, std = (
        f"numpy.array([{', '.join(f'{value:.8g}' for value in one)}], numpy.float32)[:, None, None]"
        for one in (given.mean, given.std)
    )
    yield f"mean = {mean}"
    yield f"std = {std}"
    yield "return (pixels - mean) / std"
