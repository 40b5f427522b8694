"""Which layer of one network stands where another's layer does."""

from __future__ import annotations

from collections.abc import Sequence

from automl_kd.models.warm_start.layers import RoleLayer

SAME_NAME, SAME_PLACE = 2.0, 1.0
"""What counts beside a layer's kind: that it is called the same, or has the same place in its block."""


def align(students: Sequence[RoleLayer], teachers: Sequence[RoleLayer]) -> dict[str, str]:
    """For layers of the first network the name of the second's that does the same there; others are left out.

    Both are in order, and stay so: of all such pairings the one of the most pairs, names and places count in as well,
    and among equals the one of the teacher's earlier layers (Needleman, Wunsch 1970, without a cost of gaps).
    """
    rows, columns = len(students), len(teachers)
    # best[i][j]: of the layers from i and j on
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    gains = [[gain(one, other) for other in teachers] for one in students]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            paired = gains[i][j] + best[i + 1][j + 1] if gains[i][j] else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    pairs: dict[str, str] = {}
    i = j = 0
    while i < rows and j < columns:
        if gains[i][j] and best[i][j] == gains[i][j] + best[i + 1][j + 1]:
            pairs[students[i].name] = teachers[j].name
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def gain(one: RoleLayer, other: RoleLayer) -> float:
    """0 for layers that cannot stand for each other."""
    if not one.can_be(other):
        return 0.0
    same_place = bool(one.block) == bool(other.block) and one.place == other.place
    return 1.0 + SAME_NAME * (one.name == other.name) + SAME_PLACE * same_place
