"""Ctrl-C, which neither Ray Tune nor anything else may lose."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Listener:
    """A handler that remembers a Ctrl-C and passes it on."""

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self.handler = handler
        self.pressed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        self.handler(number, frame)


@contextmanager
def remembering() -> Iterator[None]:
    """`KeyboardInterrupt` for a Ctrl-C inside: at once, or when `interruptible` is next entered or this is left.

    At once is not always enough: an exception that falls into a finalizer, of which Ray has many, is printed and gone.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = Listener(handler)
    signal.signal(signal.SIGINT, listener)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if listener.pressed:
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """`KeyboardInterrupt` if Ctrl-C was pressed inside, at whatever moment; its handler is afterwards as it was.

    Tune replaces the handler and leaves its own behind, which swallows the next Ctrl-C (Ray 2.60). It puts the old one
    back when it is called, and ends its run; one that had come to its end by then does not say so.
    """
    handler = signal.getsignal(signal.SIGINT)
    disabled = os.environ.get("TUNE_DISABLE_SIGINT_HANDLER", "0") not in {"", "0"}
    if handler is None or disabled or threading.current_thread() is not threading.main_thread():
        yield
        return
    if isinstance(handler, Listener) and handler.pressed:
        raise KeyboardInterrupt
    try:
        yield
    except BaseException:
        signal.signal(signal.SIGINT, handler)
        raise
    if signal.signal(signal.SIGINT, handler) is handler:  # in one step: between two, Tune would hear it
        raise KeyboardInterrupt
