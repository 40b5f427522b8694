from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from automl_kd.bilevel import conjugate_gradient, neumann
from automl_kd.bilevel.base import Tensors
from automl_kd.bilevel.conjugate_gradient import ConjugateGradient
from automl_kd.bilevel.neumann import Neumann
from tests.bilevel.problems import Ridge, relative_error


def product_with(matrix: Tensor):
    """The matrix in two blocks of names, as weights come."""

    def curvature(x: Tensors) -> dict[str, Tensor]:
        found = matrix @ torch.cat([x["a"], x["b"]])
        return {"a": found[:1], "b": found[1:]}

    return curvature


def blocks(*values: float) -> dict[str, Tensor]:
    tensor = torch.tensor(values, dtype=torch.float64)
    return {"a": tensor[:1], "b": tensor[1:]}


def joined(x: Tensors) -> Tensor:
    return torch.cat([x["a"], x["b"]])


def test_conjugate_gradients_on_two_unknowns_by_hand():
    # The example of many lecture notes: ((4, 1), (1, 3)) x = (1, 2), solved by (1/11, 7/11).
    # After one step from 0: r.r / r.Hr = 5 / 20, so x = (1/4, 1/2).
    curvature = product_with(torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64))
    assert joined(conjugate_gradient.solve(curvature, blocks(1, 2), 1)).tolist() == [0.25, 0.5]
    exact = torch.tensor([1 / 11, 7 / 11], dtype=torch.float64)
    torch.testing.assert_close(joined(conjugate_gradient.solve(curvature, blocks(1, 2), 2)), exact)


def test_conjugate_gradients_stay_at_the_solution():
    # With H = I the first step arrives and the residual is exactly 0: nothing is divided by it.
    curvature = product_with(torch.eye(3, dtype=torch.float64))
    assert joined(conjugate_gradient.solve(curvature, blocks(1, 2, 3), 9)).tolist() == [1.0, 2.0, 3.0]
    assert joined(conjugate_gradient.solve(curvature, blocks(0, 0, 0), 2)).tolist() == [0.0, 0.0, 0.0]


def test_damping_is_added_to_the_diagonal():
    curvature = product_with(torch.zeros(2, 2, dtype=torch.float64))
    assert joined(conjugate_gradient.solve(curvature, blocks(1, 2), 3, damping=4.0)).tolist() == [0.25, 0.5]


def test_the_first_terms_of_a_series_by_hand():
    # H = diag(1, 3), rate 1/2, v = (1, 1): sums of (1/2)^j and (-1/2)^j, halved: 3 terms give 7/8 and 3/8.
    curvature = product_with(torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)))
    assert joined(neumann.series(curvature, blocks(1, 1), 1, 0.5)).tolist() == [0.5, 0.5]
    assert joined(neumann.series(curvature, blocks(1, 1), 3, 0.5)).tolist() == [0.875, 0.375]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_both_solve_positive_definite_systems(seed: int, size: int):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = root @ root.T / size + torch.eye(size, dtype=torch.float64)
    v = torch.randn(size, generator=generator, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, v)
    by_gradients = conjugate_gradient.solve(product_with(matrix), blocks(*v.tolist()), 2 * size)
    torch.testing.assert_close(joined(by_gradients), exact, rtol=1e-8, atol=1e-10)
    # Eigenvalues lie in [1, norm], so with rate 1 / norm each term shrinks the error by 1 - 1 / norm or more.
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    terms = int(25 * norm) + 1
    by_series = neumann.series(product_with(matrix), blocks(*v.tolist()), terms, 1 / norm)
    torch.testing.assert_close(joined(by_series), exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("terms", [1, 5, 20])
def test_a_truncated_series_is_off_by_what_is_left_out(terms: int):
    # The remainder of the series is (I - rate H)^terms H^-1 v.
    ridge, rate = Ridge.example(), 0.4
    matrix = ridge.hessian
    v = ridge.v(ridge.minimum)
    found = neumann.series(lambda x: {"w": matrix @ x["w"]}, {"w": v}, terms, rate)["w"]
    exact = torch.linalg.solve(matrix, v)
    left = torch.linalg.matrix_power(torch.eye(4, dtype=torch.float64) - rate * matrix, terms) @ exact
    torch.testing.assert_close(exact - found, left)


def test_few_iterations_come_close_and_more_come_closer():
    ridge = Ridge.example()
    case = ridge.case(ridge.minimum, 0.1)
    wanted = {"log_penalty": ridge.at_the_minimum()}
    for kinds in ([ConjugateGradient(i) for i in (1, 2, 4)], [Neumann(terms, 0.5) for terms in (5, 20, 80)]):
        errors = [relative_error(member(case.problem, case.weights, case.hypers), wanted) for member in kinds]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 10 * errors[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConjugateGradient(iterations=0), "iterations must be 1 or more, got 0"),
        (lambda: ConjugateGradient(damping=-1.0), "damping must be 0 or more, got -1"),
        (lambda: Neumann(terms=0), "terms must be 1 or more, got 0"),
        (lambda: Neumann(rate=0.0), "rate must be above 0, got 0"),
    ],
)
def test_wrong_options_are_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
