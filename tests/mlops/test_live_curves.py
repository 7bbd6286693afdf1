"""The curves of a running step: one artifact, drawn anew in place, that may fail without harm."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zenml
from PIL import Image

from mlops import tracking
from mlops.tracking import LiveCurves


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names under which the step has saved artifacts; the picture lies where ZenML would have put it."""
    names: list[str] = []

    def save_artifact(data: Image.Image, name: str) -> Any:
        names.append(name)
        data.save(tmp_path / "image.PNG")
        return SimpleNamespace(visualizations=[SimpleNamespace(uri=str(tmp_path / "image.PNG"))])

    monkeypatch.setattr(zenml, "save_artifact", save_artifact)
    monkeypatch.setattr(tracking, "SECONDS_BETWEEN_PICTURES", 0.0)
    monkeypatch.setattr(tracking, "MAX_DRAWING_SHARE", float("inf"))
    return names


def test_the_first_figures_make_an_artifact_and_later_ones_change_its_picture(saved: list[str], tmp_path: Path) -> None:
    curves = LiveCurves("train_stage2")
    pictures = []
    for step in (10, 20, 30):
        curves.add(step, {"loss": 1 / step, "eval_macro_f1": step / 100})
        pictures.append(np.asarray(Image.open(tmp_path / "image.PNG")))
    assert saved == ["r2d_stage2_curves_live"]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])


def test_pictures_keep_their_distance(saved: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "SECONDS_BETWEEN_PICTURES", 3600.0)
    drawn: list[int] = []
    curves = LiveCurves("train_stage1")
    monkeypatch.setattr(curves, "_store", lambda picture: drawn.append(len(curves.history)))
    for step in range(1, 51):
        curves.add(step, {"loss": 1.0})
    assert drawn == [1]
    curves.draw()
    assert drawn == [1, 50], "the last picture of a step that fails is drawn all the same"


def test_a_picture_that_cannot_be_stored_is_reported_once_and_harms_nothing(
    saved: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no room")

    curves = LiveCurves("train_stage1")
    monkeypatch.setattr(curves, "_store", broken)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            curves.add(step, {"loss": 1.0})
    assert caplog.text.count("r2d_stage1_curves_live cannot be stored while the step runs (no room)") == 1


def test_a_step_without_figures_makes_no_artifact(saved: list[str]) -> None:
    LiveCurves("evaluate").draw()
    assert saved == []
