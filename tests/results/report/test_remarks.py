"""What methods say of their own search, on the page."""

from __future__ import annotations

import pandas as pd

from automl_kd.results.report.remarks import list_remarks


def test_each_remark_is_a_line_with_how_many_trials_it_is_of():
    rows = pd.DataFrame(
        {
            "key": ["a", "a", "b", "c", "d", "e"],
            "method": ["lkd", "lkd", "lkd", "lkd", "kd", "distpro"],
            "remark": ["it learned little", "it learned little", "it learned little", None, None, "it found nothing"],
        }
    )
    assert list_remarks(rows) == [
        "lkd, 2 of 3 trials: it learned little.",
        "distpro, 1 of 1 trial: it found nothing.",
    ]
    assert list_remarks(rows.assign(remark=None)) == []
