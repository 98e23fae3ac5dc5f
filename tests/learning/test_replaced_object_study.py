"""The study of replaced objects on files that were not generated here."""

from __future__ import annotations

from pathlib import Path

import pytest

from transferline.cli import run
from transferline.evaluation.records import read

ROOT = Path(__file__).parents[2]


def test_real_files_take_the_place_of_generated_events(real_data, tmp_path, monkeypatch):
    """Collisions and backgrounds from NanoAOD of CMS; only `samples:` and sizes differ."""
    pytest.importorskip("pythia8mc")
    assert real_data == ROOT / ".real-data"
    monkeypatch.chdir(ROOT)
    words = ["study", "studies/replaced_object/real.yaml", "--out", str(tmp_path)]
    assert run([*words, "--task", "H+ -> tb"]) == 0
    records = read(tmp_path / "records.jsonl")
    assert {record.mode for record in records} == {"scratch", "frozen", "finetuned", "trees"}
    found = next(record for record in records if record.pretraining == "masked_type")
    assert found.extra["pretraining"]["events"] == 50
