"""The tests of automl_kd; `ROOT` is the repository's folder, wherever a test lies in it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
