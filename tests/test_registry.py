from __future__ import annotations

import math
from fractions import Fraction

import pytest

from automl_kd.errors import UnknownNameError
from automl_kd.registry import load, lookup, suggestion

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
    assert load("fractions:Fraction") is Fraction


def test_a_name_in_the_table_wins_over_a_reference():
    assert lookup({"math:pi": 3}, "math:pi", "number") == 3


@pytest.mark.parametrize("reference", ["math", "math:", ":pi", "", "./mine.py:F", ".mine:F"])
def test_what_is_no_reference(reference):
    with pytest.raises(UnknownNameError, match="write it as module:attribute"):
        load(reference)


def test_a_module_that_is_not_there():
    with pytest.raises(UnknownNameError, match=r"no module 'nowhere' could be imported for 'nowhere\.to:be'"):
        load("nowhere.to:be")


def test_an_attribute_that_is_not_there():
    with pytest.raises(UnknownNameError, match=r"module 'math' has no 'sqr'; did you mean 'sqrt'\?"):
        load("math:sqr")


def test_an_error_inside_the_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_on_purpose.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownNameError, match=r"failed \(ZeroDivisionError: division by zero\)"):
        load("broken_on_purpose:anything")


def test_suggestions_do_not_depend_on_the_order_of_the_table():
    assert suggestion("zzz", ["b", "a"]) == suggestion("zzz", ["a", "b"]) == "known are a, b"
