"""Run by torchrun in `test_torchrun.py`: pretrain(), saving its state as often as it is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from transferline.learning.pretraining import PretrainConfig, pretrain

if __name__ == "__main__":
    config, out, save_seconds = sys.argv[1:]
    Path(f"{out}.pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    settings = PretrainConfig.model_validate_json(Path(config).read_text())
    pretrain(settings, Path(out), resume=True, label=None, save_seconds=float(save_seconds))
