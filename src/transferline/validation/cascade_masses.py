"""The masses of arXiv:1402.4735 in events with one lepton, two b jets and two or more others."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np

from transferline.validation.kinematics import four_momentum, invariant_mass
from transferline.validation.statistics import Bools, Floats

W_MASS, TOP_MASS = 80.4, 175.0
"""What the benchmark's own reconstruction compares with (GeV), as its masses tell."""

JETS = (1, 2, 3, 4)
MASSES = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")


@dataclass(frozen=True)
class Decays:
    """Events as the benchmark describes them, `n` of them; GeV and rad.

    Attributes:
        lepton: records `[n]` with pt, eta, phi.
        met: records `[n]` with pt, phi.
        jets: records `[n, var]` by falling pt with pt, eta, phi and `is_b`: four or more, of
            which exactly two are b jets.
        weight: `[n]`.
    """

    lepton: ak.Array
    met: ak.Array
    jets: ak.Array
    weight: Floats

    def leading(self) -> Decays:
        """Return the events with both b jets among the four hardest, with these four jets only."""
        jets = self.jets[:, : len(JETS)]
        rows = ak.to_numpy(ak.sum(jets.is_b, axis=1) == 2)
        return Decays(self.lepton[rows], self.met[rows], jets[rows], self.weight[rows])

    def central(self, abs_eta: float) -> Decays:
        """Return the events with both b jets within this |eta|."""
        rows = ak.to_numpy(ak.all(abs(self.jets[self.jets.is_b].eta) < abs_eta, axis=1))
        return Decays(self.lepton[rows], self.met[rows], self.jets[rows], self.weight[rows])

    def columns(self) -> dict[str, Floats]:
        """Return the benchmark's positive columns in GeV, and the b-tag bits `b1` to `b4`."""
        leading = self.jets[:, : len(JETS)]
        found = {"lepton_pT": self.lepton.pt, "missing_energy_magnitude": self.met.pt}
        found |= {f"jet{i}_pt": leading.pt[:, i - 1] for i in JETS}
        found |= {f"b{i}": leading.is_b[:, i - 1] for i in JETS}
        return {
            name: np.asarray(ak.to_numpy(v), float) for name, v in found.items()
        } | self.masses()

    def masses(self) -> dict[str, Floats]:
        r"""Return the seven masses, of massless objects.

        jj is the pair of light jets nearest to the W; jjj adds the b jet that comes nearer to
        the top quark, jlv the other one to lepton and neutrino. wbb takes the W that makes it
        heavier, of quarks or of leptons.
        """
        w, b = _w_to_quarks(self.jets[~self.jets.is_b]), _two(self.jets[self.jets.is_b])
        lv = _momenta(self.lepton) + self.neutrino()
        tops = np.stack([_mass(w + one) for one in b])
        other = np.where(_nearer(tops, TOP_MASS)[:, None], b[1], b[0])
        bb = b[0] + b[1]
        return {
            "m_jj": _mass(w),
            "m_jjj": np.where(_nearer(tops, TOP_MASS), tops[0], tops[1]),
            "m_lv": _mass(lv),
            "m_jlv": _mass(lv + other),
            "m_bb": _mass(bb),
            "m_wbb": np.maximum(_mass(w + bb), _mass(lv + bb)),
            "m_wwbb": _mass(w + lv + bb),
        }

    def neutrino(self) -> Floats:
        """Return (px, py, pz, E) of the neutrino that makes a W with the lepton, `[n, 4]`.

        Of two solutions that with the smaller longitudinal momentum. Where there is none, the
        direction of the lepton in eta: the mass is then the transverse mass, above the W's.
        """
        x, y, z, energy = _momenta(self.lepton).T
        pt, phi = (np.asarray(self.met[name], float) for name in ("pt", "phi"))
        own = np.hypot(x, y)
        a = 0.5 * W_MASS**2 + pt * (x * np.cos(phi) + y * np.sin(phi))
        square = a**2 - (own * pt) ** 2
        shift = energy * np.sqrt(np.maximum(square, 0.0))
        plus, minus = (a * z + shift) / own**2, (a * z - shift) / own**2
        smaller = np.where(np.abs(plus) < np.abs(minus), plus, minus)
        pz = np.where(square > 0.0, smaller, pt * z / own)
        return np.stack([pt * np.cos(phi), pt * np.sin(phi), pz, np.hypot(pt, pz)], axis=1)


def _w_to_quarks(light: ak.Array) -> Floats:
    one, two = ak.unzip(ak.combinations(_massless(light), 2))
    best = ak.argmin(abs(invariant_mass(one, two) - W_MASS), axis=1, keepdims=True)
    return _momenta(ak.firsts(one[best])) + _momenta(ak.firsts(two[best]))


def _two(jets: ak.Array) -> tuple[Floats, Floats]:
    return _momenta(jets[:, 0]), _momenta(jets[:, 1])


def _nearer(masses: Floats, mass: float) -> Bools:
    away = np.abs(masses - mass)
    return np.asarray(away[0] <= away[1])


def _massless(objects: ak.Array) -> ak.Array:
    return ak.with_field(objects, ak.zeros_like(objects.pt), "mass")


def _momenta(objects: ak.Array) -> Floats:
    """Return (px, py, pz, E), `[n, 4]`."""
    found = four_momentum(_massless(objects))
    parts = [ak.to_numpy(found[name]) for name in ("px", "py", "pz", "energy")]
    return np.stack([np.asarray(part, float) for part in parts], axis=1)


def _mass(momentum: Floats) -> Floats:
    square = momentum[:, 3] ** 2 - (momentum[:, :3] ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))
