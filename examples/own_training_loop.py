"""An objective in a plain PyTorch loop: modules here are ordinary `nn.Module`s.

Run: python examples/own_training_loop.py [STEPS]
"""

import sys

import torch

from transferline.learning.objectives.masked_type import MaskedType
from transferline.models.model import ModelRecipe
from transferline.testing import toy_batch


def main(steps: int) -> None:
    torch.manual_seed(0)
    model = ModelRecipe(backbone={"kind": "transformer", "width": 32, "depth": 2}).build()
    model.features.fit([toy_batch(512)])
    objective = MaskedType(probability=0.5).build(model).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    for step in range(steps):
        loss = objective(toy_batch(128, seed=step))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        objective.after_step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step}: loss {loss.total:.3f}, accuracy {loss.parts['accuracy']:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
