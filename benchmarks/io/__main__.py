"""The command behind `make bench-io`: process settings first, then the measurements."""

from __future__ import annotations

from transferline.runtime import prepare_process

if __name__ == "__main__":
    prepare_process()  # before anything imports numpy or torch
    from benchmarks.io.command import main

    main()
