"""Old experiment files: an upgrade renames and changes nothing else; without one an old name is refused."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.config import load_experiment, loads, merge, to_record
from automl_kd.config.earlier.toml_tokens import TomlTokens
from automl_kd.config.earlier.upgrade import upgrade_file, upgrade_text
from automl_kd.errors import ConfigError
from automl_kd.nasbench.config import KINDS, TableExperiment
from automl_kd.spec_names import KEYS, current_experiment, retired_names

SEARCH = """\
# What a proposer tries; screen = "no key".
name = "mine"   # vary
space = "search_spaces.resnet:SPACE"
method='distil'
options = { losses = "kd=0.5, at=10" }

[teacher]
recipe = { optimiser = "adamw", accumulate = 2, nesterov = false }

[recipe]
"optimiser" = "adamw"
nesterov = false
'accumulate'  =  2      # a piece
norm_shards   = 2

[search]
proposer = "random"
screen = [
    "macs",   # screen
    'naswot',
]
draws=2

[trial]
concurrent = 1
[bank]
keep = "taps"
"""
VARY = """\
name = "mine"
space = "search_spaces.resnet:SPACE"
bank.keep = 'taps'
search.proposer = "tpe"
search.options = { startup = 3 }
recipe.accumulate = 2

[vary]
method = ["kd", 'distil',
          "prokt"]      # distil
"method.temperature" = { low = 1.0, high = 8.0, log = true }
"method.losses.kd" = [0.5, 1.0]
"""
POPULATION = """\
name = "mine"
space = "model:resnet8"
[search]
scheduler = "pbt"
trials = 4
[search.perturb]
"recipe.lr" = { low = 0.01, high = 0.1 }
recipe.weight_decay = { low = 1e-4, high = 1e-3 }
"""
CONTEST = """\
name = "mine"
space = "model:resnet8"
contest.reference = "kd"

[[contest.contenders]]
name = "kd"
method = "kd"
tune = { temperature = [2.0, 4.0], weight = [0.3, 0.9] }

[[contest.contenders]]
name = "losses"
method = "distil"
best = 2
tune.losses = [ "dkd", "contenders",
  # tune
  "distil=1"]

[[ contest . "contenders" ]]
name = "distil"
method = \"\"\"distil\"\"\"
[contest.contenders.tune]
losses = ['''kd''']
"""
INLINE_CONTEST = """\
name = "mine"
space = "model:resnet8"
contest = { reference = "kd", contenders = [ { name = "kd", method = "kd", tune = { weight = [0.3] } },
    {name = "l", method = "distil"} ] }
"""
TABLE = """\
name = "mine"
space = "search_spaces.nasbench201:SPACE"
[table]
queries = 20
[[table.tasks]]
name = "cifar10"
choose = "cifar10_valid_acc_12"
report = "cifar10_test_acc_200"
[[table.runs]]
kind = "random"
queries = 10
[[table.runs]]
kind = "evolution"
screen = "params"
options = { population = 4 }
[table.untrained]
scores = ["params"]
queries = 60
[table.tradeoff]
searchers = ["random", "nsga2"]
queries = 30
screen = "macs"
"""
PROXY = """\
name = "mine"
space = "search_spaces.nasbench201:SPACE"
[proxy]
scores = "whole.parquet"
choose = "cifar10_valid_acc_12"
evaluations = 50
searches = [{ proposer = "random", evaluations = 5 }, { proposer = "tpe" }]
"""
OLD = {
    "search": SEARCH,
    "vary": VARY,
    "population": POPULATION,
    "contest": CONTEST,
    "inline contest": INLINE_CONTEST,
    "table": TABLE,
    "proxy": PROXY,
}


@pytest.mark.parametrize("name", OLD)
def test_an_upgraded_file_says_what_the_old_one_said(name):
    new = upgrade_text(OLD[name])
    assert tomllib.loads(new) == current_experiment(tomllib.loads(OLD[name]))
    assert not list(retired_names(tomllib.loads(new)))
    assert upgrade_text(new) == new
    if name != "contest":  # whose losses are made up
        loads(new, kinds=KINDS)


def test_comments_order_and_layout_stay():
    upgraded = upgrade_text(SEARCH).splitlines()
    pairs = [(old, new) for old, new in zip(SEARCH.splitlines(), upgraded, strict=True) if old != new]
    assert pairs == [
        ("method='distil'", "method='weighted_losses'"),
        (
            'recipe = { optimiser = "adamw", accumulate = 2, nesterov = false }',
            'recipe = { optimizer = "adamw", grad_accumulation = 2, nesterov = false }',
        ),
        ('"optimiser" = "adamw"', '"optimizer" = "adamw"'),
        ("'accumulate'  =  2      # a piece", "'grad_accumulation'  =  2      # a piece"),
        ("norm_shards   = 2", "sync_bn_groups   = 2"),
        ('proposer = "random"', 'sampler = "random"'),
        ("screen = [", "proxy_filter = ["),
        ("draws=2", "repeats=2"),
        ("concurrent = 1", "max_concurrent = 1"),
        ("[bank]", "[teacher_cache]"),
        ('keep = "taps"', 'keep = "features"'),
    ]


def test_the_experiment_is_the_same_one():
    found = loads(upgrade_text(SEARCH))
    assert (found.method, found.teacher_cache.keep, found.trial.max_concurrent) == ("weighted_losses", "features", 1)
    assert (found.recipe.optimizer, found.recipe.grad_accumulation, found.recipe.sync_bn_groups) == ("adamw", 2, 2)
    assert found.teacher.recipe.optimizer == "adamw"
    assert (found.search.sampler, found.search.proxy_filter, found.search.repeats) == ("random", ("macs", "naswot"), 2)
    varied = loads(upgrade_text(VARY)).hyperparameters
    assert varied["method"] == ("kd", "weighted_losses", "prokt")
    assert list(varied) == ["method", "method.temperature", "method.losses.kd"]
    table = loads(upgrade_text(TABLE), kinds=KINDS)
    assert isinstance(table, TableExperiment)
    first, second = table.table.runs
    assert (first.sampler, first.trials, second.proxy_filter) == ("random", 10, "params")


names = st.sampled_from([*sorted({old for table in KEYS.values() for old in table}), "a", "a.b", "dis\\til", 'q"', ""])
texts = st.sampled_from(["distil", "taps", "#", '"', "'", "\\", "]]", "a\nb", '"""', "'''"])
values = st.recursive(
    texts | st.integers(-5, 5) | st.booleans() | st.just(1.5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values, max_size=4))
def test_the_tokens_of_any_text_are_its_keys_and_strings(record):
    text = "".join(f"{write(key)} = {write(value)}  # {key!r}\n" for key, value in record.items())
    assert tomllib.loads(text) == record
    tokens = TomlTokens(text).found
    assert [(one.is_key, one.name) for one in tokens] == list(words_of(record))
    assert all(text[one.start : one.end] in {write(one.name), one.name} for one in tokens)


def words_of(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield True, key
            yield from words_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words_of(inner)
    elif isinstance(value, str):
        yield False, value


def write(value) -> str:
    """Strings as TOML writes them on one line, tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{write(key)} = {write(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ",\n # ]\n".join(map(write, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return str(value).lower()


def test_what_is_no_key_or_string_is_passed_over():
    text = "day = 1979-05-27 07:32:00\nfar = [1979-05-27 07:32:00Z, inf]\n"
    text += '[a]\nb = """\nx" #"""" # "c"\nd = \'\'\'\'e\'\'\'\n'
    assert [one.path for one in TomlTokens(text).found if one.is_key] == [
        ("day",),
        ("far",),
        ("a",),
        ("a", "b"),
        ("a", "d"),
    ]
    assert [one.name for one in TomlTokens(text).found if not one.is_key] == ['x" #"', "'e"]


def test_a_file_is_rewritten_whole_keeps_its_mode_and_tells_the_difference(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SEARCH.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    (tmp_path / "link.toml").symlink_to(path)
    said = upgrade_file(tmp_path / "link.toml")
    assert '-proposer = "random"\r\n' in said
    assert '+sampler = "random"\r\n' in said
    assert path.read_bytes() == b"\xef\xbb\xbf" + upgrade_text(SEARCH).replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link.toml").is_symlink()
    assert {one.name for one in tmp_path.iterdir()} == {"link.toml", "mine.toml"}
    load_experiment(path)


def test_a_file_that_is_up_to_date_is_not_touched(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(upgrade_text(SEARCH))
    before = path.stat()
    assert upgrade_file(path) == ""
    assert path.stat() == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = ", "is not valid TOML: .*; give an experiment file"),
        ("[vary]\nmethod = ['kd']\n[hyperparameters]\n", "has both 'vary' and 'hyperparameters'; keep one"),
        ("search.draws = 1\nsearch.repeats = 2", "has both 'search.draws' and 'search.repeats'; keep one"),
        ("[vary.a]\nb = 1\n[hyperparameters.c]\nd = 2", "has both 'vary' and 'hyperparameters'; keep one"),
        ('a = "\\u0000"', "holds the character NUL"),
    ],
)
def test_what_cannot_be_upgraded_is_refused_and_stays(tmp_path, text, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        upgrade_file(path)
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1\nvary.method = ['kd']", "@@ -2 +2 @@\n-vary.method = ['kd']\n\\ No newline at end of file\n+"),
        ("vary.method = ['kd']\r\n", "@@ -1 +1 @@\n-vary.method = ['kd']\r\n+hyperparameters.method = ['kd']\r\n"),
        ("\ufeffvary.method = ['kd']\n", "@@ -1 +1 @@\n-\ufeffvary.method = ['kd']\n+\ufeffhyperparameters.method"),
        ("a = '\u2028'\nvary.method = ['kd']\n", "@@ -2 +2 @@\n-vary.method = ['kd']\n+hyperparameters"),
    ],
    ids=["no last line feed", "carriage returns", "byte order mark", "line separators"],
)
def test_the_difference_is_one_that_patch_undoes(tmp_path, text, lines):
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode())
    assert upgrade_file(path).startswith(f"--- {path}\n+++ {path}\n{lines}")


def test_a_read_only_file_is_refused_and_stays(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("vary.method = ['kd']\n")
    path.chmod(0o444)
    with pytest.raises(ConfigError, match=r"mine.toml is read-only; make it writable"):
        upgrade_file(path)
    assert path.read_text() == "vary.method = ['kd']\n"


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"name = '\xff'")
    for path, reason in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "a folder"),
        (tmp_path / "mine.toml", "UTF-8"),
    ):
        with pytest.raises(
            ConfigError, match=f"no experiment could be read from .*{reason}.*; give the path of a TOML"
        ):
            upgrade_file(path)


RETIRED = [(path, old, new) for path, table in KEYS.items() for old, new in table.items()]


@pytest.mark.parametrize(("path", "old", "new"), RETIRED)
def test_every_old_key_is_refused_with_its_new_name(path, old, new):
    record = nested((*path, old), 1)
    text = "".join(f"{write(key)} = {write(value)}\n" for key, value in record.items()).replace(",\n # ]\n", ", ")
    dotted = ".".join(part for part in path if part != "*")
    before, after = (f"{dotted}.{name}".removeprefix(".") for name in (old, new))
    with pytest.raises(ConfigError) as refused:
        loads(text, where="my file.toml")
    assert str(refused.value) == (
        f"my file.toml: {before!r} is now called {after!r}; run: automl-kd upgrade 'my file.toml'"
    )
    with pytest.raises(ConfigError, match="is now called"):
        merge({}, f"{path[0] if path else old}={write(record[path[0]] if path else 1)}".replace("\n", ""))


def nested(path, value):
    for part in reversed(path):
        value = [value] if part == "*" else {part: value}
    return value


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "search.proposer=tpe",
            "--set search.proposer=tpe: 'search.proposer' is now called 'search.sampler'; write that",
        ),
        ("vary.method=['kd']", "--set vary.method=['kd']: 'vary' is now called 'hyperparameters'; write that"),
        (
            "hyperparameters.'recipe.optimiser'=['sgd']",
            "--set hyperparameters.'recipe.optimiser'=['sgd']: 'hyperparameters.recipe.optimiser' is now called "
            "'hyperparameters.recipe.optimizer'; write that",
        ),
        (
            "'search'.proposer=tpe",
            "--set 'search'.proposer=tpe: 'search.proposer' is now called 'search.sampler'; write that",
        ),
        ("method=distil", "--set method=distil: method = 'distil' is now called 'weighted_losses'; write that"),
        (
            "teacher_cache.keep=taps",
            "--set teacher_cache.keep=taps: teacher_cache.keep = 'taps' is now called 'features'",
        ),
        ("hyperparameters.method=['distil']", "hyperparameters.method = 'distil' is now called 'weighted_losses'"),
    ],
)
def test_an_old_name_after_set_is_refused(override, sentence):
    with pytest.raises(ConfigError) as refused:
        loads('name = "x"\nspace = "model:resnet8"\n', [override])
    assert sentence in str(refused.value)


def test_an_option_may_be_called_like_an_old_key():
    found = loads('name = "x"\nspace = "my:S"\noptions = { draws = 1, accumulate = 2, way = "distil" }\n')
    assert to_record(found)["options"] == {"draws": 1, "accumulate": 2, "way": "distil"}
