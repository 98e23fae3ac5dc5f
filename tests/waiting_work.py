"""Work for other processes that waits until it is told to stop, as source text."""

WAITING = """
import os, signal, time
from pathlib import Path
from transferline.stopping import check_stop

def polling(place):
    Path(place).touch()
    try:
        for _ in range(3000):
            check_stop()
            time.sleep(0.02)
    finally:
        Path(place).with_suffix(".saved").touch()
"""
