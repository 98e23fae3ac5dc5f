"""Objectives: the only place with a loss; one idea per file, named after its paper."""

from __future__ import annotations

from transferline.learning.objectives.base import ObjectiveRecipe
from transferline.registry import Registry

OBJECTIVES: Registry[ObjectiveRecipe] = Registry(
    "objectives",
    contrastive="transferline.learning.objectives.contrastive:Contrastive",
    jepa="transferline.learning.objectives.jepa:Jepa",
    joint="transferline.learning.objectives.joint:Joint",
    masked_particles="transferline.learning.objectives.masked_particles:MaskedParticles",
    masked_type="transferline.learning.objectives.masked_type:MaskedType",
    next_token="transferline.learning.objectives.next_token:NextToken",
    observables="transferline.learning.objectives.observables:Observables",
    replaced_object="transferline.learning.objectives.replaced_object:ReplacedObject",
    resimulation="transferline.learning.objectives.resimulation:Resimulation",
    supervised="transferline.learning.objectives.supervised:Supervised",
    swapped_object="transferline.learning.objectives.swapped_object:SwappedObject",
)
