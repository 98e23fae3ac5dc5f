"""Public conformance checks: what every reader, backbone, objective and task promises.

Each check raises `ConformanceError` with a sentence that says which promise is broken. The
package's own tests run them over all rows of the registries; a package that adds a row calls
them in its tests.
"""

from __future__ import annotations

from transferline.testing.backbone import check_backbone
from transferline.testing.batches import toy_batch
from transferline.testing.expectation import ConformanceError
from transferline.testing.objective import check_objective
from transferline.testing.reader import check_reader
from transferline.testing.shards import toy_shards
from transferline.testing.task import check_task

__all__ = [
    "ConformanceError",
    "check_backbone",
    "check_objective",
    "check_reader",
    "check_task",
    "toy_batch",
    "toy_shards",
]
