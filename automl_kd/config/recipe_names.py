"""`[recipe] name = "..."`: a named recipe becomes its fields, below those that are written beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automl_kd.errors import ConfigError
from automl_kd.registry import suggestion
from automl_kd.spec.named_recipes import NAMED_RECIPES, scaled_rate

NoteSentence = Callable[[str], None]


def expand_recipes(record: dict[str, Any], where: str, say: NoteSentence) -> None:
    """Replace names in the sections `recipe` and `teacher.recipe` in place; `ConfigError` for one that there is not.

    `say`: is told of a learning rate that was scaled, because a batch size was written and no rate.
    """
    teacher = record.get("teacher")
    for holder, section in ((record, "recipe"), (teacher, "teacher.recipe")):
        recipe = holder.get("recipe") if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(recipe, dict) and "name" in recipe:
            holder["recipe"] = expanded(recipe, f"{where}: {section}", say)


def expanded(recipe: dict[str, Any], where: str, say: NoteSentence) -> dict[str, Any]:
    own = {key: value for key, value in recipe.items() if key != "name"}
    if not isinstance(name := recipe["name"], str) or name not in NAMED_RECIPES:
        hint = suggestion(str(name), NAMED_RECIPES)
        raise ConfigError(f"{where}.name: no recipe is called {name!r}; {hint}")
    fields = {
        key: list(value) if isinstance(value, tuple) else value for key, value in NAMED_RECIPES[name].fields.items()
    }
    size = own.get("batch_size", fields["batch_size"])
    if "lr" not in own and size != fields["batch_size"] and isinstance(size, int):
        fields["lr"] = scaled_rate(name, size)
        say(
            f"{where}.lr = {fields['lr']:g}: that of {name!r} in proportion to batch_size = {size}; write lr to have "
            "another"
        )
    return {**fields, **own}
