"""The command's own mistakes: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import pytest

from automl_kd.cli.compress import name_compression, read_options
from automl_kd.errors import AutoMLKDError

GIVEN = {
    "teacher": "resnet20",
    "data": "digits",
    "checkpoint": "",
    "max_params": "2M",
    "max_macs": "",
    "max_latency": "5 ms",
    "device_profile": "",
    "resolution": 0,
    "name": "",
    "budget_hours": 1.5,
    "space": "",
    "epochs": 0,
    "seeds": 3,
    "overrides": ["recipe.lr=0.1"],
}


def test_options_become_a_request():
    found = read_options(GIVEN)
    assert found.name == "compress-resnet20-digits"
    assert (found.budget.params, found.budget.macs, found.budget.latency_ms) == (2_000_000, 0, 5.0)
    assert (found.hours, found.seeds, found.overrides) == (1.5, 3, ("recipe.lr=0.1",))
    assert read_options({**GIVEN, "resolution": 96}).data == {"name": "digits", "resolution": 96}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_params": "2 apples"}, "'2 apples' is no number of params above zero"),
        ({"max_latency": "0ms"}, "above zero"),
        ({"budget_hours": 0.0}, "budget hours must lie above 0"),
        ({"device_profile": "nowhere.json"}, "nowhere.json"),
        ({"name": "a/b"}, "name must be at most 100 letters"),
    ],
)
def test_what_cannot_be_is_one_sentence(changes, sentence):
    with pytest.raises(AutoMLKDError, match=sentence) as caught:
        read_options({**GIVEN, **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--max-params", "100"), "meets the budget"),
        (("--max-params", "2 apples"), "no number of params"),
        (("--teacher", "resnet21"), "resnet21"),
        (("--data", "folder:nowhere"), "nowhere"),
        (("--set", "finalists.epochs=3"), "set --epochs and --seeds"),
        (("--out", "s3://"), "s3://"),
    ],
)
def test_the_command_refuses_in_a_sentence(refused, options, sentence):
    given = {"--teacher": "resnet20", "--data": "digits", "--progress": "none"} | dict([options])
    assert sentence in refused("compress", *(part for pair in given.items() for part in pair))


def test_a_name_is_made_of_the_last_pieces():
    assert name_compression("timm:local-dir:data/lite0", "folder:my photos/") == "compress-lite0-my-photos"
