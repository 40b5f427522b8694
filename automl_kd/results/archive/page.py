"""The answer of an archive as files: front.html, which needs no network, front.md and front.csv."""

from __future__ import annotations

from pathlib import Path

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.results import units
from automl_kd.results.archive.choice import StudentChoice
from automl_kd.results.archive.limits import COST_MEASURES, CostName
from automl_kd.results.archive.plot import front_plot
from automl_kd.results.archive.sentences import choice_sentences
from automl_kd.results.archive.students import TrainedStudent
from automl_kd.results.archive.tables import students_csv, students_sheet
from automl_kd.results.report.leaderboard import made_by
from automl_kd.results.sheet import without_html
from automl_kd.results.templates import load_template

CHOICE_NOTE = (
    "Chosen by mean accuracy on validation; test accuracy is only reported. Behind ± is one standard error, of the "
    "seeds' mean and, of accuracy, of the number of validation images; the smallest is the cheapest student within one "
    "of the best. Students that were not trained in full stand below those that were, whatever their accuracy. Size is "
    "that of the parameters in float32."
)


def write_front(choice: StudentChoice, out: Path, command: str) -> list[Path]:
    """Write the three files to the folder `out`, which is made, and return their paths.

    They name `command` as what made them. `ResultError` if `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise ResultError(f"{out} is not a folder, and the front should go there; give another --out")
    texts = {
        "front.csv": students_csv(choice),
        "front.md": front_markdown(choice, command),
        "front.html": front_html(choice, command),
    }
    for name, text in texts.items():
        storage.write(out / name, storage.name_addresses(text))
    return [out / name for name in texts]


def front_markdown(choice: StudentChoice, command: str) -> str:
    sentences = [one.text for one in choice_sentences(choice)]
    tables = [
        f"## {title}\n\n{students_sheet(choice, students).to_markdown()}" for title, students in tables_of(choice)
    ]
    return without_html(
        "\n\n".join([made_by(command), f"# {front_title(choice)}", *sentences, *tables, CHOICE_NOTE]) + "\n"
    )


def front_html(choice: StudentChoice, command: str) -> str:
    costs = costs_shown(choice)
    figures = [(figure, COST_MEASURES[cost]) for cost in costs if (figure := front_plot(choice, cost)) is not None]
    return load_template(Path(__file__).with_name("front.html")).render(
        title=front_title(choice),
        facts=facts_of(choice),
        sentences=choice_sentences(choice),
        figures=figures,
        tables=[(title, students_sheet(choice, students)) for title, students in tables_of(choice)],
        note=CHOICE_NOTE,
        command=command,
    )


def costs_shown(choice: StudentChoice) -> list[CostName]:
    """Each limited cost; parameters where there is none. Size is parameters in another unit."""
    return list(choice.limits.given) or [choice.cost]


def tables_of(choice: StudentChoice) -> list[tuple[str, tuple[TrainedStudent, ...]]]:
    """Titles with students; none is empty."""
    cost = COST_MEASURES[choice.cost].title
    found = [(f"Front: accuracy on validation against {cost}", choice.front), (within(choice), choice.shown)]
    return [(title, students) for title, students in found if students]


def within(choice: StudentChoice) -> str:
    return f"Students with {choice.limits}" if choice.limits.given else "All trained students"


def front_title(choice: StudentChoice) -> str:
    names = [str(one.record.get("name") or one.path.resolve().name) for one in choice.archive.folders]
    return names[0] if len(names) == 1 else units.some(len(names), "experiment")


def facts_of(choice: StudentChoice) -> str:
    archive = choice.archive
    under = str(choice.limits) if choice.limits.given else "no limit"
    return (
        f"{units.some(len(archive.trained), 'trained student')}, {archive.scored_count:,} scored · {under}"
        f"{f' · latency on {archive.devices[0]}' if archive.devices else ''}"
    )
