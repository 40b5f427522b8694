"""`automl-kd nasbench search`: all the way to the report, and what it refuses."""

from __future__ import annotations

import pytest

from tests.nasbench.made_up_table import TEXT, make_table

COMMAND = ("nasbench", "search")


@pytest.fixture(scope="module")
def nasbench201(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("table"))


def test_the_command_line_goes_all_the_way(run, tmp_path, nasbench201):
    (tmp_path / "mine.toml").write_text(TEXT)
    code, out, err = run(*COMMAND, "mine.toml", "--nasbench201", str(nasbench201), "--set", "table.seeds=3")
    assert code == 0, err
    assert "cifar10: after 20 trainings the lowest mean regret" in out
    # said once, not for each task
    assert " ".join(out.split()).count("building the networks and the teacher's single pass are left out") == 1
    assert (tmp_path / "results" / "mine" / "leaderboard.html").is_file()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"cifar100_valid_acc_12"', '"cifar100_test_acc_200"', "is a test accuracy, for reports only"),
        ('"cifar100_valid_acc_12"', '"cifar99_valid_acc_12"', "has no column 'cifar99_valid_acc_12'; did you mean"),
        ('"cifar100_valid_acc_12"', '"cifar100_valid_acc_200"', "has no column 'cifar100_valid_acc_200'"),
        ('"cifar100_test_acc_200"', '"cifar10_test_acc_200"', "are of two datasets"),
        ('early = "cifar10_valid_acc_12"', 'early = "cifar100_valid_acc_12"', "is no shorter training"),
        ('early = "cifar10_valid_acc_12"', "", "needs a short training beside the long one, and no task has any"),
        ('sampler = "asha"', 'sampler = "ahsa"', "no sampler of tables is called 'ahsa'; did you mean 'asha'?"),
        ('sampler = "asha"', 'sampler = "asha"\noptions = {reduktion = 3}', "has no option 'reduktion'; did you mean"),
        ('proxy_filter = "good"', 'proxy_filter = "goood"', "no score is called 'goood'; did you mean 'good'?"),
        ('scores = ["good"', 'scores = ["bad"', "no score is called 'bad'"),
        (
            'file = "scores.parquet"',
            'file = "elsewhere.parquet"',
            "is to come from elsewhere.parquet, which is neither",
        ),
        ('file = "scores.parquet"', 'file = "scores.parquet"\ncolumn = "goot"', "has no column 'goot'; did you mean"),
        ('devices = ["help_phone"]', 'devices = ["phone"]', "no device is called 'phone'; did you mean 'help_phone'?"),
        ('samplers = ["random", "nsga2"]', 'samplers = ["local"]', "cannot use sampler 'local'"),
        ("compare = [5, 20]", "compare = [20, 5]", "compare must be one or more numbers above 0, ascending"),
        ("[table.tradeoff]", "[table.tradeof]", "unknown key 'table.tradeof'; did you mean 'tradeoff'?"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_in_a_sentence(refused, tmp_path, nasbench201, old, new, said):
    assert old in TEXT
    (tmp_path / "mine.toml").write_text(TEXT.replace(old, new))
    assert said in refused(*COMMAND, "mine.toml", "--nasbench201", str(nasbench201))


def test_without_a_table_it_is_said_how_to_get_one(refused, tmp_path, monkeypatch):
    monkeypatch.delenv("AUTOML_KD_NASBENCH201", raising=False)
    (tmp_path / "mine.toml").write_text(TEXT)
    assert "automl-kd nasbench import" in refused(*COMMAND, "mine.toml")
