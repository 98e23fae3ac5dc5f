"""What a study will do, told from its configuration alone."""

from __future__ import annotations

from transferline.learning.baselines import Trees
from transferline.learning.modes import TRAINED, Mode
from transferline.learning.network_run import Adaptation
from transferline.learning.study_config import StudyConfig
from transferline.learning.tasks.subsets import fitted


def plan_lines(config: StudyConfig) -> list[str]:
    """Return a table for people: runs and event passes by size and mode, and their sum.

    An event pass is one event going once through training; learning rates that are tried
    count. Passes of the trees, and of the frozen mode's head over cached embeddings, cost
    little.
    """
    lines = [
        f"{config.title} ({config.scale})",
        "mode        n_train  runs  event passes per run",
    ]
    runs = passes = 0
    seen: set[str] = set()
    for task, n_train in ((t, n) for t in config.questions() for n in config.grid.sizes(t.name)):
        if task.name not in seen and len(config.questions()) > 1:
            seen.add(task.name)
            lines.append(f"{task.name}:")
        n_fit = fitted(n_train, task.select_share)
        for mode in config.grid.modes:
            each = [
                how.examples(n_fit)
                for seed in config.grid.seeds_at(n_train)
                for how in _settings(config, task.name, mode, n_train, seed)
            ]
            if not each:
                continue
            lines.append(f"{mode:<10}{n_train:>9}{len(each):>6}{max(each):>22,}")
            runs += len(each)
            passes += sum(each) * (mode in (*TRAINED, "fixed"))
    lines.append(f"at most {runs} runs, {passes:,} event passes through whole networks")
    return lines


def _settings(
    config: StudyConfig, task: str, mode: Mode, n_train: int, seed: int
) -> list[Adaptation | Trees]:
    """Transferred modes run once per variant, scratch at most so, trees once."""
    wanted = [name for name in config.pretrain if config.wants(task, mode, [name], n_train, seed)]
    if mode == "scratch":  # those that are compared with the same runs share them
        wanted = list(dict.fromkeys(config.pretrain[name].only.scratch or name for name in wanted))
    trees = [None] if config.wants(task, mode, (), n_train, seed) else []
    found = [config.how(mode, name) for name in (trees if mode == "trees" else wanted)]
    return [how for how in found if how is not None]
