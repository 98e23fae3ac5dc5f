"""Tasks: questions asked downstream; one per file, one row each."""

from __future__ import annotations

from transferline.learning.tasks.base import Task
from transferline.registry import Registry

TASKS: Registry[Task] = Registry(
    "tasks",
    event_classification="transferline.learning.tasks.event_classification:EventClassification",
    joint_analysis="transferline.learning.tasks.joint_analysis:JointAnalysis",
    jet_tagging="transferline.learning.tasks.jet_tagging:JetTagging",
    weak_supervision="transferline.learning.tasks.weak_supervision:WeakSupervision",
)
