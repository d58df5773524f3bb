"""Many visitors and one model: runs take turns step by step, tell what they are by then, and stop when asked.

A step uses all cores, and two at once would only be in each other's way. So one step is made at a time, in the order in which
they were asked for: a short run does not wait for the end of a long one.
"""

import collections
import queue
import threading
import time
from collections.abc import Callable, Iterator

EVERY = 0.15  # seconds between two looks at a run


class Cancelled(Exception):
    """The user did not want to wait."""


class Turns:
    """A lock whose holders come in the order in which they asked for it."""

    def __init__(self):
        self.waiting: collections.deque = collections.deque()
        self.changed = threading.Condition()

    def __enter__(self):
        with self.changed:
            mine = object()
            self.waiting.append(mine)
            self.changed.wait_for(lambda: self.waiting[0] is mine)

    def __exit__(self, *error):
        with self.changed:
            self.waiting.popleft()
            self.changed.notify_all()

    def next(self) -> None:
        """Let everybody who waits come first."""
        self.__exit__()
        self.__enter__()


class Runs:
    """The runs of all sessions, each in a thread of its own."""

    def __init__(self):
        self.turns, self.flags = Turns(), {}

    def watch(self, session: str, work: Callable, steps: int) -> Iterator:
        """Does `work(on_step)` and yields (steps done, the state that `on_step` was told) now and then, and last its result.

        Raises what the work raised, and `Cancelled` when the session was cancelled. A session has one run at a time.
        """
        told, flag = queue.Queue(), threading.Event()
        self.flags[session] = flag
        done, shown = 0, 0.0

        def on_step(state):
            nonlocal done, shown
            done += 1
            if flag.is_set():
                raise Cancelled
            if time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                told.put((min(done, steps), state))
            self.turns.next()

        def run():
            try:
                with self.turns:
                    told.put(work(on_step))
            except BaseException as error:  # handed on to the thread that waits
                told.put(error)

        threading.Thread(target=run, daemon=True).start()
        try:
            while True:
                news = told.get()
                if isinstance(news, BaseException):
                    raise news
                yield news
                if not isinstance(news, tuple):
                    return
        finally:
            flag.set()  # also when nobody listens any more

    def cancel(self, session: str) -> None:
        if session in self.flags:
            self.flags[session].set()

    def forget(self, session: str) -> None:
        self.cancel(session)
        self.flags.pop(session, None)
