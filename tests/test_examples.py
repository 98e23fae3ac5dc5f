"""Every script in examples/ runs, on tiny data."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ARGUMENTS = {
    "embeddings.py": [],
    "generate_and_read.py": ["40"],
    "onnx_scores.py": [],
    "own_training_loop.py": ["10"],
    "pretrain_and_transfer.py": ["20"],
}

EXTRAS = {"onnx_scores.py": "onnxruntime"}


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example(script, monkeypatch, capsys):
    """In this process, which has imported everything."""
    assert script.name in ARGUMENTS, f"give {script.name} small arguments"
    if script.name in EXTRAS:
        pytest.importorskip(EXTRAS[script.name])
    monkeypatch.setattr(sys, "argv", [str(script), *ARGUMENTS[script.name]])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.count("\n") >= 3
