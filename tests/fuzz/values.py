"""Values, texts and bytes that somebody may give in the place of what was wanted."""

from __future__ import annotations

from random import Random

VALUES = (
    *("0", "-1", "1", "2", "0.5", "-0.5", "1e308", "-1e308", "1e999", "nan", "inf", "-inf", "9223372036854775808"),
    *(
        "-9223372036854775809",
        "1" * 5000,
        "0x" + "f" * 4000,
        "1_000",
        "0b11",
        "1979-05-27",
        "07:32:00",
        "true",
        "false",
    ),
    *('""', '"x"', '" "', '"1"', '"nan"', '"../x"', '"~nobody-of-this-name/x"', '"a\\u0000b"', '"\\U0001F600"', '"%s"'),
    *(
        "'''a\nb'''",
        '"' + "x" * 3000 + '"',
        '"[bold]x[/bold]"',
        '"<script>"',
        '"model:"',
        '":"',
        '"math:pi"',
        '"os:sep"',
    ),
    *("[]", "[[]]", "[1]", '["x"]', "[1, 2, 3]", "[0.5, 0.5]", "[nan]", '["x", 1]', "[{}]", "[true]", "[-1, 1e999]"),
    *("{}", "{ a = 1 }", "{ low = 1, high = 0 }", "{ low = 0, high = 1 }", "{ low = nan, high = 1 }", '{ "" = 1 }'),
    *("{ low = 1, high = 9, step = 0 }", '{ low = "a", high = "b" }', "[" * 300 + "]" * 300, "[" * 2000 + "]" * 2000),
    *("[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]", '["kd", "kd"]', '{ name = "x" }', '{ losses = "kd=nan" }'),
)
"""As TOML writes them."""

TEXTS = (
    *(
        "",
        " ",
        "=",
        "==",
        "=1",
        ".=1",
        "a=",
        "a.b=1",
        "search",
        "search=1",
        "search.=1",
        ".search=1",
        "search..trials=1",
    ),
    *(
        "search.trials=",
        "search.trials==2",
        "search.trials=2 3",
        "search.trials='2",
        'search.trials="',
        "hyperparameters.=1",
    ),
    *(
        "hyperparameters.method=[]",
        "hyperparameters.method=['kd','kd']",
        "hyperparameters.method.temperature={low=1}",
        "search.perturb.x=1",
    ),
    *("search.trials.x.y=1", "[search]", "search.trials=\n2", "search.trials=1#2", "#", "name='\n'", "näme=1"),
    *("comparison.methods=[{}]", "comparison.methods=[{name='a'}]", "comparison.methods=[1]", "table.tasks=[{}]"),
    *("table.compare=[]", "table.compare=[3,2]", "proxy.scores=x", "proxy.searches=[{}]", "finalists.seeds=[]"),
    *(
        "options={}",
        "options=1",
        "options.x=[1]",
        "options.losses=','",
        "method=weighted_losses",
        "teacher_cache.keep=1",
        "trial.gpus=0",
    ),
    *("version='1'", "recipe={}", "recipe=[]", "teacher.recipe.milestones=[2]", "seed=-1", "seed=1e3", "seed=0.0"),
)
"""As somebody may type them behind --set."""

NAMES = (
    *(
        "",
        ".",
        "..",
        "-",
        "--",
        "~nobody-of-this-name/x",
        "a/b",
        "x" * 300,
        "x" * 5000,
        "\n",
        "a b",
        "é",
        "*",
    ),
    *("teachers", "Scores", "damaged", "..x", "x/../../y", "s3://", "gs://", "http://x/y", "file:///x", "$HOME", "%s"),
    *("C:\\x", "'", '"', "[x]", "x;y", "nul", "\u202e", "😀", "a\tb", "-x", "@x", "x@sha256-00", "x\\", "..."),
)

GARBAGE = (
    b"",
    b"\0",
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"x"',
    b"\xff\xfe",
    b"PK\x03\x04",
    b"PAR1",
    b"PAR1PAR1",
    b"[" * 5000,
)


def damage(content: bytes, random: Random) -> bytes:
    """Content with a part cut off, taken out, doubled, or a byte changed; or something else altogether."""
    if not content:
        return random.choice(GARBAGE)
    place, other = sorted(random.randrange(len(content) + 1) for _ in range(2))
    changed = bytearray(content)
    changed[min(place, len(content) - 1)] ^= 1 << random.randrange(8)
    return random.choice(
        [
            content[:place],
            content[place:],
            content[:place] + content[other:],
            content[:other] + content[place:],
            content[:place] + random.randbytes(5) + content[place:],
            bytes(changed),
            random.choice(GARBAGE),
        ]
    )
