"""What the page is put together from: its style, a sample as a card, and handlers whose errors are messages."""

import contextlib
import functools
import inspect

import gradio as gr

from .turns import Cancelled

CSS = """
.gradio-container {max-width: 1400px !important; width: 100%; margin: auto}
.role label {padding: 4px 8px !important}
.keep label {padding: 2px 6px !important}
.card img, .card audio {display: block; margin: 2px auto}
.card code {display: block; font-size: 1.5em; text-align: center; padding: .3em}
.card .name {font-size: .8em; opacity: .7; text-align: center; margin-top: .5em}
.vote table {margin: auto}
"""


def clear_errors(handler):
    """What goes wrong becomes a message on the page, and leaves everything as it was."""

    @contextlib.contextmanager
    def said():
        try:
            yield
        except Cancelled:
            raise gr.Error("Cancelled; nothing was changed.", title="Stopped", print_exception=False) from None
        except (ValueError, OSError, RuntimeError) as error:
            raise gr.Error(str(error), title="That does not work", print_exception=False, duration=20) from None

    @functools.wraps(handler)
    def wrapped(*args, **kwargs):
        with said():
            return handler(*args, **kwargs)

    @functools.wraps(handler)
    def in_parts(*args, **kwargs):
        with said():
            yield from handler(*args, **kwargs)

    return in_parts if inspect.isgeneratorfunction(handler) else wrapped


def card(pictures: dict[str, list[str]], row: int, held=()) -> str:
    """One sample as HTML."""
    parts = []
    for name in pictures:
        given = " (given)" if name in held else ""
        parts.append(f'<div class="name">{name}{given}</div><div data-modality="{name}">{pictures[name][row]}</div>')
    return "".join(parts)
