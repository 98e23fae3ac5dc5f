"""Every script in examples/ runs, on tiny data."""

from __future__ import annotations

import subprocess
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
def test_example(script):
    assert script.name in ARGUMENTS, f"give {script.name} small arguments"
    if script.name in EXTRAS:
        pytest.importorskip(EXTRAS[script.name])
    command = [sys.executable, "-W", "error", str(script), *ARGUMENTS[script.name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") >= 3
