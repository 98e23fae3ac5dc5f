"""The identification of PUPPI jets, which NanoAODv13 and later no longer store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]

TIGHT, TIGHT_LEPTON_VETO = 2, 4
"""Values of the bits in `Jet_jetId` of earlier versions."""


def jet_id(jets: Mapping[str, Column]) -> NDArray[np.int32]:
    r"""Return the bits that `Jet_jetId` would hold, for AK4 PUPPI jets of Run 3, `[m]`.

    Tight, by $|\eta|$:

    - up to 2.6: neutral hadron fraction < 0.99, neutral electromagnetic fraction < 0.9, more
      than one constituent, charged hadron fraction > 0.01, charged multiplicity > 0;
    - 2.6 to 2.7: neutral hadron fraction < 0.90, neutral electromagnetic fraction < 0.99;
    - 2.7 to 3.0: neutral hadron fraction < 0.99;
    - above 3.0: neutral multiplicity >= 2, neutral electromagnetic fraction < 0.4.

    The lepton veto also asks, up to 2.7, for muon fraction < 0.8 and charged electromagnetic
    fraction < 0.8. Source: CMS JetMET recommendation for Run 3,
    https://twiki.cern.ch/twiki/bin/view/CMS/JetID13p6TeV, also given in the JSON-POG file
    `jetid.json` under `AK4PUPPI_Tight`.

    Args:
        jets: `eta` and the columns `JET_ID_INPUTS` of the layout, `[m]` each.
    """
    eta = np.abs(jets["eta"])
    charged, neutral = (jets[f"{name}Multiplicity"].astype(np.int32) for name in ("ch", "ne"))
    central = (jets["neHEF"] < 0.99) & (jets["neEmEF"] < 0.9) & (charged + neutral > 1)
    central &= (jets["chHEF"] > 0.01) & (charged > 0)
    edge = (jets["neHEF"] < 0.90) & (jets["neEmEF"] < 0.99)
    tight = np.select(
        [eta <= 2.6, eta <= 2.7, eta <= 3.0],
        [central, edge, jets["neHEF"] < 0.99],
        (neutral >= 2) & (jets["neEmEF"] < 0.4),
    )
    no_lepton = (eta > 2.7) | ((jets["muEF"] < 0.8) & (jets["chEmEF"] < 0.8))
    bits: NDArray[np.int32] = TIGHT * tight + TIGHT_LEPTON_VETO * (tight & no_lepton)
    return bits.astype(np.int32)
