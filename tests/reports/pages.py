"""Checks of pages: well formed, self-contained, accessible, and equal to the expected page of a test."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """A page as its tags and its readable text; a page that is not well formed is an error."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def count(self, tag: str) -> int:
        return [name for name, _ in self.tags].count(tag)


def assert_self_contained(html: str) -> None:
    """Nothing is fetched, nothing runs, no event is listened to."""
    for tag, attributes in Page(html).tags:
        assert tag not in ("link", "script", "iframe", "object", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in ("src", "href", "srcset", "action"):
                assert (value or "").startswith(("data:", "#"))
    assert "url(" not in html
    assert "@import" not in html


def assert_accessible(html: str) -> None:
    """Landmarks once, a scope for every table heading, a name for every picture, and no reference to nothing."""
    page = Page(html)
    assert [page.count(tag) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    assert all(attributes.get("scope") in ("row", "col", "rowgroup") for tag, attributes in page.tags if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-labelledby") for tag, attributes in page.tags if tag == "svg")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes.get("aria-labelledby") or "" for _, attributes in page.tags]
    assert {name for names in named for name in names.split()} <= set(ids)
    linked = {(attributes.get("href") or "#")[1:] for tag, attributes in page.tags if tag in ("a", "use")}
    assert linked <= set(ids)


def assert_expected_page(html: str, path: Path) -> None:
    """`assert_expected` of a page without its style sheet and the insides of its drawings."""
    page = re.sub(r"<style>.*?</style>", "<style></style>", html, flags=re.DOTALL)
    page = re.sub(r"(</desc>).*?(</svg>)", r"\1\2", page, flags=re.DOTALL)
    assert_expected(re.sub(r"[ \t]+$|(?<=\n)\n+", "", page, flags=re.MULTILINE), path)


def assert_expected(text: str, path: Path) -> None:
    """The text is that of the file; with `R2D_RENEW_PAGES=1` in the environment the file is written anew."""
    if os.environ.get("R2D_RENEW_PAGES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
