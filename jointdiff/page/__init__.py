"""A page in the browser for any model: draw, type or speak, generate the rest, keep what is good and redraw."""

from .view import serve

__all__ = ["serve"]
