"""The API reference: what is public has a page and an entry, and what the guides import is public."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import ROOT
from tests.docs.pages import PAGES, blocks


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_public(module: str, public: tuple[str, ...]) -> bool:
    """A module brings those in it: all without `__all__`, else those that it names."""
    above, _, name = module.rpartition(".")
    if module in public or not above:
        return module in public
    names = getattr(importlib.import_module(above), "__all__", [name])
    return name in names and is_public(above, public)


def test_what_guides_import_is_public(reference):
    imported = {
        node.module or ""
        for page in PAGES
        for text in blocks(page, "python")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("automl_kd")
    }
    assert sorted(name for name in imported if not is_public(name, reference.PUBLIC)) == []


@pytest.mark.slow
def test_every_public_name_has_an_entry(reference, tmp_path):
    reference.build_pages(tmp_path)
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    for name in reference.PUBLIC:
        file = Path(*name.split(".")).with_suffix(".html").as_posix()
        assert f'href="{file}"' in index
        page = (tmp_path / file).read_text(encoding="utf-8")
        missing = [one for one in getattr(sys.modules[name], "__all__", ()) if f'id="{one}"' not in page]
        missing = [
            one for one in missing if not one.startswith("__") and not (tmp_path / file[:-5] / f"{one}.html").exists()
        ]
        assert missing == [], name


@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("arXiv:1503.02531, section\n2. The weights", "arXiv:1503.02531, section\n2\\. The weights"),
        ("Two ways:\n\n1. this\n", "Two ways:\n\n1. this\n"),
        ("Errors.\n\nAll\n├── One\n└── Two\n\nEnd.", "Errors.\n\n    All\n    ├── One\n    └── Two\n\nEnd."),
    ],
)
def test_markdown_takes_a_docstring_as_it_is_meant(reference, docstring, shown):
    assert reference.markdown_of(docstring) == shown
