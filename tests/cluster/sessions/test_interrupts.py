"""A Ctrl-C ends a run, whoever hears it first, and however it gets lost."""

from __future__ import annotations

import signal

import pytest

from automl_kd.cluster.sessions.interrupts import interruptible, remembering

pytestmark = pytest.mark.usefixtures("ctrl_c")


def press_ctrl_c_as_tune_hears_it() -> None:
    """Tune's handler, which puts the one before it back when it is called, and else stays."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, before))
    signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_that_tune_took_for_itself_is_not_lost():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        press_ctrl_c_as_tune_hears_it()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_that_tune_leaves_behind_is_replaced():
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        signal.signal(signal.SIGINT, lambda *_: None)
    assert signal.getsignal(signal.SIGINT) is before


class Finalized:
    """Python prints what a finalizer raises, and goes on."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def run_as_tune_does(reached: list[str]) -> None:
    """A run that sets a handler of its own, as Tune does first of all."""
    with interruptible():
        signal.signal(signal.SIGINT, lambda *_: None)
        reached.append("a run")


def press_in_a_finalizer(reached: list[str], *, then_run: bool) -> None:
    with remembering():
        gone = Finalized()
        del gone
        reached.append("the end of the finalizer")
        if then_run:
            run_as_tune_does(reached)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("then_run", [True, False])
def test_one_that_fell_into_a_finalizer_ends_the_next_run_or_the_whole(then_run):
    before = signal.getsignal(signal.SIGINT)
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        press_in_a_finalizer(reached, then_run=then_run)
    assert reached == ["the end of the finalizer"]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_ctrl_c_nothing_happens():
    before = signal.getsignal(signal.SIGINT)
    reached: list[str] = []
    with remembering():
        run_as_tune_does(reached)
        run_as_tune_does(reached)
    assert reached == ["a run", "a run"]
    assert signal.getsignal(signal.SIGINT) is before
