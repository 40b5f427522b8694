"""Settings that are none are refused, and what readers took is added up."""

from __future__ import annotations

import pytest

from automl_kd.data.stream.settings import LoaderSettings, LoaderStats


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"threads": -1}, "0 .all cores but one. or more, got -1"),
        ({"ring_mb": 0}, "at least 1, got 0"),
        ({"cache_gb": -1.0}, "0 .nothing is kept. or more"),
        ({"cache_gb": float("inf")}, "got inf"),
        ({"cache_gb": 2.0}, "cache_gb = 2 needs a folder"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        LoaderSettings(**fields)


def test_one_core_is_left_for_training(monkeypatch):
    for cores, threads in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert LoaderSettings().workers == threads
    assert LoaderSettings(threads=3).workers == 3


def test_settings_are_plain_values():
    settings = LoaderSettings(threads=2, cache_gb=1.5, folder="views")
    assert LoaderSettings.from_json(settings.to_json()) == settings
    assert settings.cache_bytes == 1_500_000_000


def test_stats_are_added():
    assert LoaderStats(1, 2, 3, 4, 0.5) + LoaderStats(10, 20, 30, 40, 1.0) == LoaderStats(11, 22, 33, 44, 1.5)
