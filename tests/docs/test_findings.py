"""Findings keep their rules: pinned packages, a temporary folder, none of our code, and a line in the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.docs.pages import text_of

SCRIPTS = sorted(ROOT.glob("findings/*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_is_stated_pinned_and_alone(script: Path):
    text = script.read_text(encoding="utf-8")
    head = text.split("set -euo pipefail")[0]
    assert [word for word in ("# Versions:", "# Expected:", "# Seen:") if word not in head] == []
    assert "$(mktemp -d)" in text
    assert "automl_kd" not in text
    installed = " ".join(re.findall(r"pip install(?P<packages>.*)", text)).split()
    assert [name for name in installed if not name.startswith("-") and "==" not in name] == []
    assert f"[{script.stem}]({script.name})" in text_of("findings/README.md")
