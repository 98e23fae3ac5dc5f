"""TransferConfig: the task and the settings of one `transferline transfer`."""

from __future__ import annotations

from transferline.config import Recipe, one_of
from transferline.errors import ConfigError
from transferline.learning.baselines import Trees
from transferline.learning.modes import Mode
from transferline.learning.network_run import Adaptation
from transferline.learning.tasks import TASKS


class TransferConfig(Recipe):
    """One task, and how each mode is trained on it.

    Attributes:
        task: the question; its samples are directories of shards.
        scratch, frozen, fixed, finetuned: training of the networks in each mode.
        trees: settings of the baseline.
    """

    task: one_of(TASKS)  # type: ignore[valid-type]  # a registry-driven field type
    scratch: Adaptation | None = None
    frozen: Adaptation | None = None
    fixed: Adaptation | None = None
    finetuned: Adaptation | None = None
    trees: Trees = Trees()

    def how(self, mode: Mode) -> Adaptation | Trees:
        """Return the settings of a mode.

        Raises:
            ConfigError: there are none.
        """
        found: Adaptation | Trees | None = getattr(self, mode)
        if found is None:
            raise ConfigError(f"the configuration has no settings `{mode}:`.")
        return found
