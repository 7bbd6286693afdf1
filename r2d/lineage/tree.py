"""A tree of text lines, drawn for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

WIDTH = 100
"""Columns of everything that is drawn."""


@dataclass
class Node:
    """A line, and what hangs below it."""

    text: str
    children: list[Node] = field(default_factory=list)

    def add(self, text: str) -> Node:
        """Hang a line below this one, and return it."""
        child = Node(text)
        self.children.append(child)
        return child


def drawn(root: Node, *, width: int = WIDTH) -> str:
    """The tree with its branches; a line that is longer than `width` goes on below itself."""
    return "\n".join(_lines(root, "", "", width))


def _lines(node: Node, first: str, rest: str, width: int) -> Iterator[str]:
    below = rest + ("│  " if node.children else "   ")
    yield from textwrap.wrap(
        node.text, width, initial_indent=first, subsequent_indent=below, break_on_hyphens=False
    ) or [first]
    for child in node.children:
        last = child is node.children[-1]
        yield from _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), width)
