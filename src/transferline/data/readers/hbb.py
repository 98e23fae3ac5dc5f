"""CMS open data record 12102 (X to bb): ROOT, one entry per jet or one entry per event."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from transferline.data.layouts import hbb as layout
from transferline.data.layouts.hbb import HBB
from transferline.data.readers.jet_columns import Plan, species_of
from transferline.data.readers.jet_sets import JetSets
from transferline.data.readers.jet_values import Raw, Values, error_of, jet_sets, mass_of
from transferline.data.readers.root_jets import RootJets


class Hbb(RootJets):
    """CMS record 12102: large-radius jets with their candidates, one entry per jet or per event.

    Columns are those of `jetclass`, impact parameters in mm. Labels are `label_*`, `isH`, `isQCD`
    and `sample_isQCD`. Jets of one event share its identity where the files tell it.
    """

    kind: Literal["hbb"] = "hbb"
    step: ClassVar[int] = 2_000
    table = HBB
    of_event = layout.EVENT
    no_events = (
        "The published record 12102 is so: its jets were mixed at random and carry no run or "
        "luminosity block, and X to HH events cannot be put together again. Use files with one "
        "entry per event (jagged fj_* branches)"
    )

    def jet_sets(self, plan: Plan, raw: Raw, identity: NDArray[np.void]) -> JetSets:
        """Compute the columns of a plan."""
        return jet_sets(plan, raw, constituent, context, identity)


def constituent(column: str, raw: Raw) -> Values:
    """Return one column of the particles, `[k]`."""
    if column == "species":
        return species_of({name: raw.part[flag] for flag, name in layout.FLAGS.items()})
    if column == "charge":
        return raw.part["pfcand_charge"]
    if column in {"d0", "dz"}:
        return _MM_OF_EVENTS[column] * raw.wide(_IMPACT[column])
    if column in {"d0err", "dzerr"}:
        value = _IMPACT[column.removesuffix("err")]
        return layout.MM_PER_CM * error_of(raw.wide(value), raw.wide(f"{value}sig"))
    return _momentum(column, raw)


_IMPACT = {"d0": "pfcand_dxy", "dz": "pfcand_dz"}
# The sign of d0 in `Events` is not that of CMS.
_MM_OF_EVENTS = {"d0": -layout.MM_PER_CM, "dz": layout.MM_PER_CM}


def _momentum(column: str, raw: Raw) -> Values:
    if column == "phi":
        phi = raw.wide("fj_phi") + raw.wide("pfcand_phirel")
        return (phi + np.pi) % (2 * np.pi) - np.pi
    if column == "mass" and "pfcand_mass" in raw.part:
        return raw.part["pfcand_mass"]
    if column == "pt":
        return raw.wide("pfcand_ptrel") * raw.wide("fj_pt")
    jet_eta = raw.wide("fj_eta")
    eta = jet_eta + np.where(jet_eta > 0, 1.0, -1.0) * raw.wide("pfcand_etarel")
    if column == "eta":
        return eta
    jet_p = raw.wide("fj_pt") * np.cosh(jet_eta)
    energy = raw.wide("pfcand_erel") * np.hypot(jet_p, raw.wide("fj_mass"))
    return mass_of(energy, raw.wide("pfcand_ptrel") * raw.wide("fj_pt") * np.cosh(eta))


def context(column: str, raw: Raw) -> Values:
    """Return one column of the jets, `[m]`."""
    ((branch,),) = HBB.context[column]
    return raw.jet[branch]
