"""Values that no field could take are told in a sentence, wherever in an experiment they stand."""

from __future__ import annotations

import os

import pytest

from automl_kd.config import Experiment, load_experiment, loads
from automl_kd.errors import ConfigError
from automl_kd.space import Choice, FloatRange, When

MINIMAL = 'name = "x"\nspace = "search_spaces.resnet:SPACE"\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("options.a = " + "[" * 2000 + "]" * 2000, "is not valid TOML: a value is nested more than 20 deep"),
        ("options." + "a." * 2000 + "b = 1", "options is nested more than 20 deep; make it flatter"),
        ("seed = " + "1" * 5000, "is not valid TOML: a value cannot be read"),
        ("seed = 0x" + "f" * 5000, "seed does not fit into 64 bits"),
        ("options.deep = [[[[1e999]]]]", "options.deep.0.0.0.0 is inf; it should be a finite number"),
        ('teacher.checkpoint = "a\\u0000b"', "teacher.checkpoint holds the character NUL; take it out"),
    ],
)
def test_each_is_one_sentence(line, said):
    with pytest.raises(ConfigError) as caught:
        loads(MINIMAL + line)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("value", ["[" * 2000 + "]" * 2000, "1" * 5000])
def test_values_on_the_command_line_alike(value):
    with pytest.raises(ConfigError, match=r"^--set: a value .*; give another value"):
        loads(MINIMAL, [f"options.a={value}"])


def test_a_byte_order_mark_is_no_part_of_an_experiment(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_experiment(tmp_path / "x.toml").name == "x"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(ConfigError, match="it is a pipe, not a file; give the path of a TOML file"):
        load_experiment(tmp_path / "x.toml")


@pytest.mark.parametrize("name", ["teachers", "Scores", "damaged"])
def test_names_of_shared_folders_are_refused(name):
    with pytest.raises(ValueError, match=f"name is '{name}', and the folder of that name is shared by all experiments"):
        Experiment(name=name, space="search_spaces.resnet:SPACE")


@pytest.mark.parametrize("option", [(1, 2), None, float("nan"), float("inf"), [1], b"x", 1j])
def test_options_of_a_space_are_plain_values(option):
    # A point is stored as JSON, where a tuple would come back as a list, and be no option any more.
    with pytest.raises(ValueError, match="must be true or false, a finite number or a text"):
        Choice((1, option))
    with pytest.raises(ValueError, match="is a value of the parent 'a'"):
        When("a", (option,))


def test_a_range_is_finite():
    with pytest.raises(ValueError, match="a real range needs finite low < high"):
        FloatRange(0.0, float("inf"))
