"""import_weaver(): weights of weaver-core's ParticleTransformer as a Checkpoint.

The published models of arXiv:2202.03772 are such files. Names are translated one by one; a tensor
that has no translation is an error, so that nothing is lost on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from transferline.errors import ConfigError, DataError, shortened
from transferline.files import file_hash
from transferline.models.backbones.part import ParT
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import JETCLASS_FEATURES, Features
from transferline.models.heads import Head
from transferline.models.model import ModelRecipe
from transferline.models.stored_config import explained
from transferline.provenance import run_facts

_SHOWN = 8  # tensors named in an error

_WRAPPERS = re.compile(r"^((module|_orig_mod|mod)\.)+")  # of DDP, torch.compile, the network file

# Before weaver-core 0.5, with which the published models were trained.
_FORMER = re.compile(r"\.in_proj_(weight|bias)$")

_SAME = (
    r"in_proj|out_proj|pre_attn_norm|post_attn_norm|pre_fc_norm|post_fc_norm|fc1|fc2",
    r"weight|bias",
)
_NAMES = [
    (r"cls_token", r"backbone.class_token"),
    (r"embed\.input_bn\.(\w+)", r"backbone.embedding.norm.\1"),
    (r"embed\.embed\.(\d+)\.(\w+)", r"backbone.embedding.layers.\1.\2"),
    (r"pair_embed\.embed\.(\d+)\.(\w+)", r"backbone.pair_embedding.layers.\1.\2"),
    (rf"blocks\.(\d+)\.(?:attn\.)?({_SAME[0]})\.({_SAME[1]})", r"backbone.blocks.\1.\2.\3"),
    (r"blocks\.(\d+)\.c_attn", r"backbone.blocks.\1.head_scale"),
    (r"blocks\.(\d+)\.w_resid", r"backbone.blocks.\1.residual_scale"),
    (r"norm\.(weight|bias)", r"backbone.norm.\1"),
    (r"fc\.0\.(weight|bias)", r"head.0.\1"),
]
"""Name in weaver-core -> name here; those of `blocks` stand for `cls_blocks`, too."""


def import_weaver(
    file: Path, out: Path, *, pair_activation: bool = True, head: bool = True
) -> dict[str, Any]:
    """Write the state of a weaver-core ParticleTransformer as a checkpoint into `out`.

    The features are those of the published data cards of JetClass, told by their number: 7
    (`kin`), 13 (`kinpid`) or 17 (`full`), with the published constants. What a state does not
    tell is noted as assumed.

    Args:
        file: what `torch.save(model.state_dict(), file)` wrote, as weaver does.
        out: directory for the checkpoint; it must not hold one.
        pair_activation: see `ParT`; the state does not tell.
        head: take the linear classifier along; else it is left out, whatever it is.

    Returns:
        `features` (name of the data card), `parameters`, `outputs` (None without a head), `used`
        (number of tensors), `left_out` and `assumed`.

    Raises:
        ConfigError: `out` holds a checkpoint.
        DataError: the file is missing, holds other things than tensors, or is the state of
            another network; the message names the tensors.
    """
    if (out / "config.json").exists():
        raise ConfigError(f"--out {out}: holds a checkpoint already. Choose another directory.")
    state = _read(file)
    left_out = [] if head else sorted(name for name in state if name.startswith("fc."))
    kept = {name: tensor for name, tensor in state.items() if name not in left_out}
    tensors = _translated(kept, file)
    recipe, card = _recipe(tensors, pair_activation, file)
    if any(_FORMER.search(name) for name in kept):
        tensors = as_computed_formerly(tensors, recipe.backbone.heads)
    facts = {
        "features": card,
        "outputs": recipe.n_outputs,
        "used": len(kept),
        "left_out": left_out,
        "assumed": _assumed(card, pair_activation),
    }
    checkpoint = Checkpoint(
        recipe=recipe,
        tensors={**_constants(recipe), **tensors},
        provenance={
            **run_facts(),
            "imported": {
                "format": "weaver-core ParticleTransformer",
                "file": file.name,
                "sha256": file_hash(file),
                **facts,
            },
        },
        card=_card(file, facts),
        place=str(file),
    )
    model = checkpoint.model()  # every tensor fits, or this raises
    checkpoint.save(out)
    return {"parameters": sum(p.numel() for p in model.parameters()), **facts}


def _read(file: Path) -> dict[str, Tensor]:
    """Return name -> tensor, the prefixes of wrappers taken off."""
    if not file.is_file():
        raise DataError(f"{file}: there is no such file.")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # other bytes than a pickle's make the unpickler raise any kind
        raise DataError(
            f"{file}: is not a file of plain tensors, and others are not opened: loading a pickle "
            "runs its code. In the program that wrote it: "
            f"torch.save(model.state_dict(), FILE). ({shortened(error, 200)})"
        ) from error
    if not isinstance(state, Mapping) or not state or not all(map(_is_entry, state.items())):
        raise DataError(
            f"{file}: holds no mapping of names to tensors; give the *_state.pt that weaver wrote, "
            "neither its optimizer's nor a whole training state."
        )
    found = {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    broken = [name for name, tensor in found.items() if not tensor.isfinite().all()]
    if broken or len(found) < len(state):
        problem = f"not finite: {_listed(broken)}" if broken else "two tensors have one name"
        raise DataError(f"{file}: is not usable ({problem}).")
    return found


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _translated(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    names = {name: _translate(name) for name in state}
    unknown = sorted(name for name, new in names.items() if new is None)
    if any(name.startswith("fc.") for name in unknown):
        raise DataError(
            f"{file}: its classifier has hidden layers ({_listed(unknown)}), which heads here do "
            "not have. Import the backbone alone: --no-head"
        )
    if unknown:
        raise DataError(
            f"{file}: is not the published ParticleTransformer (version 1 of weaver-core, pairs of "
            f"type `pp` without extra inputs); no place for {_listed(unknown)}."
        )
    return {str(names[name]): _reshaped(name, tensor) for name, tensor in state.items()}


def _translate(name: str) -> str | None:
    plain = _FORMER.sub(r".in_proj.\1", name)
    plain, is_class = re.subn(r"^cls_blocks\.", "blocks.", plain)
    for pattern, replacement in _NAMES:
        if re.fullmatch(pattern, plain):
            new = re.sub(pattern, replacement, plain)
            return new.replace("backbone.blocks.", "backbone.class_blocks.") if is_class else new
    return None


def as_computed_formerly(tensors: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    r"""Return the weights with which networks before weaver-core 0.5 give what they gave.

    There the scale $c_h$ of a head h went with a transposition, so that channel d of head h, of D,
    came out at place $d H + h$ in place of $h D + d$. Both go into the projection before it:
    $W'_{dH+h} = c_h W_{hD+d}$, the same for the offset, and the scales become one.
    """
    changed = dict(tensors)
    for name in tensors:
        block, is_scale, _ = name.partition("head_scale")
        if not is_scale:
            continue
        weight, bias = tensors[f"{block}out_proj.weight"], tensors[f"{block}out_proj.bias"]
        place = torch.arange(len(bias)).view(heads, -1).t().flatten()
        scale = tensors[name].repeat_interleave(len(bias) // heads)
        changed[f"{block}out_proj.weight"] = (scale.unsqueeze(1) * weight)[place]
        changed[f"{block}out_proj.bias"] = (scale * bias)[place]
        changed[name] = torch.ones_like(tensors[name])
    return changed


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """The class token to `[d]`; convolutions over single pairs to matrices."""
    if name == "cls_token":
        return tensor.flatten()
    if name.startswith("pair_embed.") and tensor.dim() == 3 and tensor.shape[2] == 1:
        return tensor.squeeze(2)
    return tensor


def _recipe(
    tensors: Mapping[str, Tensor], pair_activation: bool, file: Path
) -> tuple[ModelRecipe, str]:
    """Read the sizes off the shapes; also the name of the data card of the features."""
    embed = _rows(tensors, "backbone.embedding.layers")
    pairs = _rows(tensors, "backbone.pair_embedding.layers")
    depths = [_count(tensors, f"backbone.{part}") for part in ("blocks", "class_blocks")]
    hidden = tensors.get("backbone.blocks.0.fc1.bias")
    if not embed or not pairs or not all(depths) or hidden is None:
        raise DataError(
            f"{file}: is not the state of a ParticleTransformer with embedding, pairs, blocks and "
            f"class blocks; it begins with {_listed(sorted(tensors))}."
        )
    cards = {len(names): card for card, names in JETCLASS_FEATURES.items()}
    inputs = len(tensors.get("backbone.embedding.norm.weight", ()))
    if inputs not in cards:
        known = ", ".join(f"{number} ({card})" for number, card in cards.items())
        raise DataError(
            f"{file}: reads {inputs} features per particle; the published models read {known}."
        )
    linear = tensors.get("head.0.bias")
    try:
        recipe = ModelRecipe(
            features=Features(
                particles=JETCLASS_FEATURES[cards[inputs]], species="hidden", scaling="published"
            ),
            backbone=ParT(
                embed=tuple(embed),
                pair_embed=tuple(pairs[:-1]),
                depth=depths[0],
                class_depth=depths[1],
                heads=pairs[-1],
                expansion=len(hidden) // embed[-1],
                pair_activation=pair_activation,
                pair_mass="published",
            ),
            head=None if linear is None else Head(),
            n_outputs=None if linear is None else len(linear),
        )
    except ValidationError as error:
        raise DataError(f"{file}: has sizes that do not fit ({explained(error)}).") from error
    return recipe, cards[inputs]


def _rows(tensors: Mapping[str, Tensor], prefix: str) -> list[int]:
    """Output sizes of the linear layers below `prefix`, in order."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.weight")
    found = {
        int(match[1]): len(tensor)
        for name, tensor in tensors.items()
        if (match := pattern.fullmatch(name)) and tensor.dim() == 2
    }
    return [found[number] for number in sorted(found)]


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})


def _constants(recipe: ModelRecipe) -> dict[str, Tensor]:
    state = recipe.features.build().state_dict()
    return {f"features.{name}": tensor for name, tensor in state.items()}


def _assumed(card: str, pair_activation: bool) -> list[str]:
    """What the state of a network does not tell."""
    last = "with" if pair_activation else "without"
    return [
        f"inputs of the data card JetClass_{card}",
        "GELU everywhere",
        f"pairs' network {last} a last activation",
        "dropout 0.1 when trained further",
    ]


def _card(file: Path, facts: Mapping[str, Any]) -> str:
    outputs = "none" if facts["outputs"] is None else f"linear, {facts['outputs']} outputs"
    left_out = _listed(facts["left_out"]) if facts["left_out"] else "nothing"
    assumed = "\n".join(f"- {line}" for line in facts["assumed"])
    return f"""# Particle Transformer, imported

- weights: `{file.name}`, a state of weaver-core's ParticleTransformer (arXiv:2202.03772)
- {facts["used"]} tensors taken over, left out: {left_out}
- head: {outputs}

## Not told by the file, assumed

{assumed}

Which jets it was trained on is not known here.
"""


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shortened(name, 60) for name in names[:_SHOWN]) + rest
