"""The benchmark of a GPU runs where none is, on tiny models, and is refused there otherwise."""

from __future__ import annotations

import re

import pytest
import torch

from benchmarks.gpu import CAUSAL_WAYS, T5_WAYS, main


@pytest.mark.slow
def test_every_way_has_the_losses_of_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """In bf16, whose numbers have three digits."""
    main(["--cpu", "--steps", "3", "--batch", "2", "--without-compiled"])
    table = capsys.readouterr().out
    for way in (*T5_WAYS, *CAUSAL_WAYS):
        found = re.findall(rf"^\| {re.escape(way.name)} \| .* \| (.*) \|$", table, flags=re.MULTILINE)
        assert len(found) == ("compiled" not in way.name)
        assert [apart for apart in found if float(apart) > 0.02] == []


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"torch finds no GPU here, .*; nothing was run"):
        main([])
