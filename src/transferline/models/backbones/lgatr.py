r"""L-GATr: a transformer that is equivariant under Lorentz transformations.

Source: arXiv:2411.00446 (Brehmer, Breso, de Haan, Plehn, Qu, Spinner, Thaler), computed by the
authors' package `lgatr`. Each particle is a multivector of the geometric algebra of space-time,
which holds its four-momentum, beside scalars: its features. Layers mix multivectors in the ways
that commute with boosts and rotations, and attention weighs with their invariant products.

Detectors break the symmetry: the plane across the beam and the direction of time enter as further
tokens, and a global token, which stands for no particle, reads the set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from transferline.data.batch import cartesian
from transferline.errors import ConfigError
from transferline.models.backbones.base import Backbone, BackboneRecipe, Latent, check_heads
from transferline.models.features import Inputs, InputSpec

if TYPE_CHECKING:
    from types import ModuleType

_COMPONENTS = 16  # of a multivector: 1 scalar, 4 of a vector, 6 of a plane, 4, 1
_VECTOR = 4


class LGATr(BackboneRecipe):
    """Encoder of equivariant blocks; the defaults are the network of the paper for jets.

    The features enter as scalars, as if no transformation changed them. With `symmetry: lorentz`
    the network is invariant if they are: charge, species, impact parameters of a jet, but neither
    momenta nor angles.

    Attributes:
        width: size d of tokens and of the pooled embedding; invariants all.
        depth: number of blocks.
        vectors: channels of multivectors inside.
        scalars: channels of scalars inside.
        heads: attention heads; must divide `vectors`.
        symmetry: `broken` adds what the beam and time single out, as published; `lorentz` does
            not.
        dropout: in attention output and feed-forward.
        unit: GeV; four-momenta enter in units of it.
    """

    kind: Literal["lgatr"] = "lgatr"
    width: int = Field(32, gt=1, le=16_384)
    depth: int = Field(12, gt=0, le=1000)
    vectors: int = Field(16, gt=0, le=1024)
    scalars: int = Field(32, gt=0, le=16_384)
    heads: int = Field(8, gt=0, le=1024)
    symmetry: Literal["broken", "lorentz"] = "broken"
    dropout: float = Field(0.0, ge=0, lt=1)
    unit: float = Field(20.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_heads(self.vectors, self.heads)
        return self

    @classmethod
    def example(cls) -> Self:
        """Return a size for a CPU; with the 17 features of jets it has 107,569 parameters."""
        return cls(width=32, depth=3, vectors=8, scalars=16, heads=4)

    def build(self, spec: InputSpec) -> LGATrBackbone:
        """Return the module.

        Raises:
            ConfigError: the package `lgatr` is not installed.
        """
        return LGATrBackbone(self, spec)


def _package() -> ModuleType:
    try:
        import lgatr  # noqa: PLC0415  an extra
    except ImportError as error:
        raise ConfigError(
            f"the backbone lgatr needs its package: pip install 'transferline[lgatr]' ({error})"
        ) from error
    package: ModuleType = lgatr
    return package


class LGATrBackbone(Backbone):
    """The module of `LGATr`.

    Tokens are the invariants of the last layer: its scalars, and the scalar part of one
    multivector. The pooled embedding is the token of no particle.
    """

    # The package keeps tables of the algebra outside the module, which a graph cannot hold.
    exportable: ClassVar[bool] = False
    references: Tensor

    def __init__(self, recipe: LGATr, spec: InputSpec) -> None:
        super().__init__()
        package = _package()
        self.width, self.unit = recipe.width, recipe.unit
        self.n_features = spec.n_features
        self.network: nn.Module = package.LGATr(
            num_blocks=recipe.depth,
            in_mv_channels=1,
            out_mv_channels=1,
            hidden_mv_channels=recipe.vectors,
            in_s_channels=spec.n_features,
            out_s_channels=recipe.width - 1,
            hidden_s_channels=recipe.scalars,
            attention={"num_heads": recipe.heads},
            mlp={},
            # As matrix products: without compilation a third faster on a CPU than by indices.
            primitives={"sparse_gp": False},
            dropout_prob=recipe.dropout or None,
        )
        broken = recipe.symmetry == "broken"
        beam = package.get_spurions("xyplane" if broken else None, add_time_spurion=broken)
        # First the token that reads the set: the multivector 1, which no transformation changes.
        every = torch.cat((torch.eye(1, _COMPONENTS), beam))
        self.register_buffer("references", every, persistent=False)

    @property
    def token_width(self) -> int:
        """See `Backbone.token_width`: a four-momentum and the features, embedded as they are."""
        return _VECTOR + self.n_features

    def embed(self, inputs: Inputs) -> Tensor:
        """Return (E, px, py, pz) in units and the features, `[n, p, 4 + f]`."""
        p4 = torch.where(inputs.is_real.unsqueeze(-1), inputs.p4, torch.zeros_like(inputs.p4))
        return torch.cat((cartesian(p4.float()) / self.unit, inputs.x.float()), dim=-1)

    def encode(
        self,
        tokens: Tensor,
        is_real: Tensor,
        pairs: Tensor | None = None,
        causal: bool = False,
    ) -> Latent:
        """Run the blocks over global token, references and particles."""
        n, more = len(tokens), len(self.references)
        tokens = torch.where(is_real.unsqueeze(-1), tokens, torch.zeros_like(tokens))
        vectors = F.pad(tokens[..., :_VECTOR], (1, _COMPONENTS - _VECTOR - 1))
        vectors = torch.cat((self.references.expand(n, -1, -1), vectors), dim=1)
        scalars = F.pad(tokens[..., _VECTOR:], (0, 0, more, 0))
        seen = F.pad(is_real, (more, 0), value=True)[:, None, None, :]
        # Rounded to bfloat16 the blocks are not equivariant: turned jets differ by a tenth.
        with torch.autocast(tokens.device.type, enabled=False):
            out, invariants = self.network(
                vectors.float().unsqueeze(2), scalars.float(), attn_mask=seen
            )
        every = torch.cat((out[..., 0, :1], invariants), dim=-1).float()
        own = torch.where(is_real.unsqueeze(-1), every[:, more:], 0.0)
        return Latent(tokens=own, is_real=is_real, pooled=every[:, 0])
