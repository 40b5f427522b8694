"""Names classes of images: python run.py photo.jpg ... Needs onnxruntime, numpy and Pillow alone."""

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
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    sides = [109 * one // min(picture.size) for one in picture.size]
    picture = picture.resize(sides, Image.Resampling.BICUBIC)
    left, top = (round((one - 96) / 2) for one in picture.size)
    picture = picture.crop((left, top, left + 96, top + 96))
    pixels = numpy.asarray(picture, numpy.float32).transpose(2, 0, 1) / 255
    mean = numpy.array([0.46084949, 0.45393579, 0.42526039], numpy.float32)[:, None, None]
    std = numpy.array([0.27220166, 0.26858733, 0.2907607], numpy.float32)[:, None, None]
    return (pixels - mean) / std


for path in sys.argv[1:]:
    (outputs,) = session.run(None, {"images": prepare(path)[None]})
    print(path, labels[int(outputs[0].argmax())])
