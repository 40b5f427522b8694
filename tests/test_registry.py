from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction

import pytest

from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.registry import load_reference, lookup, lookup_options, name_type, suggestion
from tests import ROOT

TABLE = {"synflow": 1, "naswot": 2}


def test_an_entry_of_the_table():
    assert lookup(TABLE, "naswot", "proxy") == 2


def test_a_misspelt_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"^no proxy is called 'synflo'; did you mean 'synflow'\?$"):
        lookup(TABLE, "synflo", "proxy")


def test_a_name_like_no_other_lists_what_there_is():
    with pytest.raises(UnknownNameError, match=r"^no proxy is called 'zzz'; known are naswot, synflow$"):
        lookup(TABLE, "zzz", "proxy")


def test_a_reference_is_imported():
    assert lookup({}, "math:pi", "number") == math.pi
    assert load_reference("fractions:Fraction") is Fraction


def test_a_name_in_the_table_wins_over_a_reference():
    assert lookup({"math:pi": 3}, "math:pi", "number") == 3


@pytest.mark.parametrize("reference", ["math", "math:", ":pi", "", "./mine.py:F", ".mine:F"])
def test_what_is_no_reference(reference):
    with pytest.raises(UnknownNameError, match="write it as module:attribute"):
        load_reference(reference)


def test_a_module_that_is_not_there():
    with pytest.raises(UnknownNameError, match=r"no module 'nowhere' could be imported for 'nowhere\.to:be'"):
        load_reference("nowhere.to:be")


def test_an_attribute_that_is_not_there():
    with pytest.raises(UnknownNameError, match=r"module 'math' has no 'sqr'; did you mean 'sqrt'\?"):
        load_reference("math:sqr")


def test_an_error_inside_the_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_on_purpose.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownNameError, match=r"failed \(ZeroDivisionError: division by zero\)"):
        load_reference("broken_on_purpose:anything")


@dataclasses.dataclass(frozen=True)
class Whole:
    width: int = 1

    def __call__(self) -> int:
        return self.width


@dataclasses.dataclass
class Loose:
    def __call__(self) -> int:
        return 1


@dataclasses.dataclass(frozen=True)
class Silent:
    width: int = 1


@dataclasses.dataclass(frozen=True)
class Bare(Whole):
    depth: int = dataclasses.field(kw_only=True)


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("os:path", "is a module"),
        ("json:dumps", "is a function"),
        ("builtins:dict", "is not a frozen dataclass"),
        ("tests.test_registry:Loose", "is not a frozen dataclass"),
        ("tests.test_registry:Silent", "lacks __call__"),
        ("tests.test_registry:Bare", "has no default for depth"),
    ],
)
def test_a_reference_to_something_else_than_options(reference, fault):
    sentence = f"'{reference}' is no method, since it {fault}; name a frozen dataclass with __call__ and a default for"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        lookup_options({}, reference, "method", ["__call__"])


def test_options_are_found_by_a_reference_and_those_of_the_table_are_trusted():
    assert lookup_options({}, "tests.test_registry:Whole", "method", ["__call__"]).__name__ == "Whole"
    assert lookup_options({"mine": Silent}, "mine", "method", ["__call__"]) is Silent


def test_suggestions_do_not_depend_on_the_order_of_the_table():
    assert suggestion("zzz", ["b", "a"]) == suggestion("zzz", ["a", "b"]) == "known are a, b"


@pytest.mark.parametrize("spoken", ["an EfficientNet", "an int", "an MLP", "an HRNet", "a ResNet", "a UNet", "a Unet"])
def test_a_type_has_the_article_that_is_spoken(spoken):
    assert name_type(type(spoken.split()[1], (), {})()) == spoken


def test_no_sentence_puts_an_article_before_a_name_by_itself():
    sources = [path for path in (ROOT / "automl_kd").rglob("*.py") if path.name != "registry.py"]
    assert [path for path in sources if re.search(r"\ban? \{", path.read_text())] == []
