"""Where particles come from: heavy hadrons, tau decays, lepton origins, the hard process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.compiled import Array, compiled
from transferline.generate.truth import Truth, is_invisible

PROMPT, FROM_TAU, FROM_B, FROM_C, FROM_LIGHT = 1, 15, 5, 4, 3
"""Values of NanoAOD's `genPartFlav` for matched electrons and muons."""


@compiled
def is_hadron(code: int) -> bool:
    """Tell hadrons from fundamental particles, diquarks and what lies beyond."""
    a = abs(code)
    return (
        100 < a < 10000000
        and not (1000 <= a < 10000 and a // 10 % 10 == 0)
        and not 1000000 <= a < 10000000
    )


@compiled
def heavy_quark(code: int) -> int:
    """5 for a hadron with a b quark, 4 for one with a c quark and no b, else 0."""
    a = abs(code)
    if not is_hadron(a):
        return 0
    content = max(a // 100 % 10, a // 1000 % 10)
    return content if content in (4, 5) else 0


@compiled
def _last_heavy_hadrons(offsets: Array, code: Array, first: Array, last: Array) -> Array:
    flavour = np.zeros(len(code), np.int8)
    for event in range(len(offsets) - 1):
        base = offsets[event]
        for i in range(base, offsets[event + 1]):
            quark = heavy_quark(code[i])
            if quark == 0:
                continue
            flavour[i] = quark
            for daughter in range(first[i], last[i] + 1):
                if daughter > 0 and heavy_quark(code[base + daughter]) == quark:
                    flavour[i] = 0
    return flavour


@dataclass(frozen=True)
class HeavyHadrons:
    """The last b or c hadron of each decay chain: event, flavour (5 or 4), `p4 [n, 4]`."""

    event: Array
    flavour: Array
    p4: Array


def heavy_hadrons(truth: Truth) -> HeavyHadrons:
    """Find the heavy hadrons that decay weakly (or at least without another of their kind)."""
    flavour = _last_heavy_hadrons(truth.offsets, truth.pdg_id, truth.daughter1, truth.daughter2)
    index = np.flatnonzero(flavour)
    return HeavyHadrons(truth.event[index], flavour[index], truth.p4[index])


@compiled
def _tau_decays(
    offsets: Array, code: Array, first: Array, last: Array, p4: Array
) -> tuple[Array, Array, Array]:
    n = len(code)
    index, decay = np.empty(n, np.int64), np.empty((n, 2), np.int64)
    visible = np.empty((n, 4))
    found = 0
    for event in range(len(offsets) - 1):
        base = offsets[event]
        for i in range(base, offsets[event + 1]):
            if abs(code[i]) != 15 or first[i] <= 0:
                continue
            prongs, neutrals, hadronic = 0, 0, True
            for axis in range(4):  # whole rows at once take seconds more to compile
                visible[found, axis] = 0.0
            for daughter in range(base + first[i], base + last[i] + 1):
                a = abs(code[daughter])
                if a in (11, 13, 15):
                    hadronic = False
                elif a not in (12, 14, 16):
                    for axis in range(4):
                        visible[found, axis] += p4[daughter, axis]
                    prongs += a in (211, 321)
                    neutrals += a == 111
            if hadronic:
                index[found], decay[found, 0], decay[found, 1] = i, prongs, neutrals
                found += 1
    return index[:found].copy(), decay[:found].copy(), visible[:found].copy()


@dataclass(frozen=True)
class HadronicTaus:
    """Hadronic tau decays: event, charge, true mode, visible `p4 [n, 4]`.

    The mode is 0: one prong, 1: one prong and neutral pions, 2: three prongs, 3: three prongs and
    neutral pions.
    """

    event: Array
    charge: Array
    mode: Array
    p4: Array


def hadronic_taus(truth: Truth) -> HadronicTaus:
    """Find tau leptons that decay to hadrons and come from no hadron themselves.

    Those of b and c hadrons stand inside jets, and pass an identification as these do: what is
    measured of taus is measured of isolated ones.
    """
    index, decay, visible = _tau_decays(
        truth.offsets, truth.pdg_id, truth.daughter1, truth.daughter2, truth.p4
    )
    event = truth.event[index]
    origin = lepton_origin(index, truth.offsets, event, truth.pdg_id, truth.mother)
    prompt = np.isin(origin, (PROMPT, FROM_TAU))
    index, decay, visible = index[prompt], decay[prompt], visible[prompt]
    mode = 2 * (decay[:, 0] > 1) + (decay[:, 1] > 0)
    return HadronicTaus(truth.event[index], -np.sign(truth.pdg_id[index]), mode, visible)


@compiled
def lepton_origin(index: Array, offsets: Array, event: Array, code: Array, mother: Array) -> Array:
    """Return `genPartFlav` of the entries `index`, climbing their mothers.

    A lepton with a b hadron above it is from b, else with a c hadron from c, else with any hadron
    from light quarks; with none of these it is prompt, or from a prompt tau.
    """
    origin = np.zeros(len(index), np.uint8)
    for k in range(len(index)):
        base = offsets[event[k]]
        here, found = index[k], 1
        for _ in range(1000):
            above = base + mother[here]
            if mother[here] <= 0 or above == here:
                break
            here = above
            a = abs(code[here])
            quark = heavy_quark(code[here])
            if quark == 5:
                found = 5
                break
            if quark == 4:
                found = 4
            elif a == 15 and found == 1:
                found = 15
            elif is_hadron(a):
                found = 4 if found == 4 else 3
            elif a not in (11, 13, 15):
                # Quarks, gluons and bosons: what lies above them does not matter.
                break
        origin[k] = found
    return origin


@compiled
def _kept_mother(index: Array, kept: Array, offsets: Array, event: Array, mother: Array) -> Array:
    """Number within its event of the nearest kept ancestor, -1 for none."""
    position = np.full(len(kept), -1, np.int64)
    counter, present = 0, -1
    for k in range(len(index)):
        if event[k] != present:
            present, counter = event[k], 0
        position[index[k]] = counter
        counter += 1
    result = np.full(len(index), -1, np.int32)
    for k in range(len(index)):
        base, here = offsets[event[k]], index[k]
        for _ in range(1000):
            above = base + mother[here]
            if mother[here] <= 0 or above == here:
                break
            here = above
            if kept[here]:
                result[k] = position[here]
                break
    return result


@compiled
def _last_copy(index: Array, base: Array, code: Array, first: Array, last: Array) -> Array:
    """Follow each entry through daughters of the same species to its last copy."""
    result = index.copy()
    for k in range(len(index)):
        moved = True
        while moved:
            moved = False
            here = result[k]
            for daughter in range(first[here], last[here] + 1):
                if (
                    daughter > 0
                    and base[k] + daughter > here
                    and code[base[k] + daughter] == code[here]
                ):
                    result[k] = base[k] + daughter
                    moved = True
                    break
    return result


@dataclass(frozen=True)
class HardProcess:
    """Particles of the hard process (Pythia status 21 to 29) with the nearest kept mother.

    Resonances (mass above that of a tau and not a quark or gluon) carry the momentum they decay
    with; quarks, gluons and leptons the one they leave the hard process with.
    """

    event: Array
    pdg_id: Array
    status: Array
    mother: Array
    p4: Array


def hard_process(truth: Truth) -> HardProcess:
    """Select the hard process of each event."""
    status = np.abs(truth.status)
    kept = (status >= 21) & (status <= 29)
    index = np.flatnonzero(kept)
    event = truth.event[index]
    code = truth.pdg_id
    mother = _kept_mother(index, kept, truth.offsets, event, truth.mother)
    last = _last_copy(index, truth.offsets[event], code, truth.daughter1, truth.daughter2)
    resonance = (np.abs(code[index]) == 6) | (np.abs(code[index]) > 22)
    source = np.where(resonance, last, index)
    return HardProcess(event, code[index], status[index], mother, truth.p4[source])


def invisible_momentum(truth: Truth) -> Array:
    """Transverse momentum `[n, 2]` carried by neutrinos and other invisible particles (GeV)."""
    unseen = truth.final & is_invisible(truth.pdg_id)
    event = truth.event[unseen]
    return np.stack(
        [np.bincount(event, truth.p4[unseen, axis], minlength=truth.n) for axis in (0, 1)], axis=1
    )
