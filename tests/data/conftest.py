from __future__ import annotations

from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Further real files, where they lie beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip("no ../shared/data here")
    return _SHARED
