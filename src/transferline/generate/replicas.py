"""The same hard process showered several times: replicas of an event (RS3L, arXiv:2403.07066).

One Pythia makes hard processes and lets their resonances decay, a second one is handed every
process record several times and goes on from there with other random numbers: initial- and
final-state radiation, multi-parton interactions, hadrons and their decays.

What is handed over is what an internal process has: momenta, colours, decays, and for the scale of
the event the factorisation scale, where Pythia's showers of an internal process begin.
(`LHAupFromPYTHIA8`, which comes with Pythia, tells the renormalisation scale, which is higher.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transferline.errors import DataError
from transferline.generate.filter_rules import FilterCount, HardFilter
from transferline.generate.pythia import HARD_PROCESS_ONLY, PythiaRun, import_pythia
from transferline.generate.truth import Truth

_PROTON, _BEAM_ENERGY = 2212, 6500.0
_PROCESS = 9999  # the number of "some process" in Les Houches events
_UNWEIGHTED = 3
_INCOMING, _OUTGOING, _RESONANCE = -1, 1, 2  # Les Houches status
_BEAMS = 3  # entries of Pythia's record before the incoming partons; it counts from 0, they from 1
_PARTONS = np.array([_BEAMS, _BEAMS + 1])
_MOST_FAILED = 20  # batches in a row


def hard_source(pythia8: Any, next_process: Callable[[], tuple[Any, Any]]) -> Any:
    """Return a Pythia `LHAup` object that hands out hard processes.

    `next_process` gives a process record and the `Info` that belongs to it.
    """

    class Source(pythia8.LHAup):  # type: ignore[misc]  # a C++ class, known at run time only
        def setInit(self) -> bool:  # noqa: N802 (name fixed by Pythia)
            self.setBeamA(_PROTON, _BEAM_ENERGY)
            self.setBeamB(_PROTON, _BEAM_ENERGY)
            self.setStrategy(_UNWEIGHTED)
            self.addProcess(_PROCESS)
            return True

        def setEvent(self, _process: int = 0) -> bool:  # noqa: N802
            record, info = next_process()
            self.setProcess(_PROCESS, 1.0, info.QFac(), info.alphaEM(), info.alphaS())
            for index in range(_BEAMS, record.size()):
                self.addParticle(*_row(record[index], index))
            return True

    return Source(_UNWEIGHTED)


def _row(particle: Any, index: int) -> tuple[float, ...]:
    """Return a particle of a process record as a row of a Les Houches event."""
    status = _OUTGOING if particle.isFinal() else _RESONANCE
    if index in _PARTONS:
        status = _INCOMING
    mothers = (max(mother - _BEAMS + 1, 0) for mother in (particle.mother1(), particle.mother2()))
    momentum = (particle.px(), particle.py(), particle.pz(), particle.e(), particle.m())
    colours = (particle.col(), particle.acol())
    life = (particle.tau(), particle.pol(), particle.scale())
    return (particle.id(), status, *mothers, *colours, *momentum, *life)


class ReplicaRun:
    """Two initialised Pythias: one makes hard processes, one showers each of them several times.

    Args:
        settings: of the hard process.
        showers: those of them that are of anything after it.
        seeds: of the two, 1 to 900,000,000.
        rule: which hard processes are showered.
        replicas: of each.
    """

    def __init__(
        self,
        settings: Sequence[str],
        showers: Sequence[str],
        *,
        seeds: tuple[int, int],
        rule: HardFilter,
        replicas: int,
    ) -> None:
        self._hard = PythiaRun((*settings, *HARD_PROCESS_ONLY), seeds[0], rule)
        self._replicas = replicas
        self._present: tuple[Any, Any] = (None, None)
        self._left = 0
        source = hard_source(import_pythia(), self._next_process)
        self._shower = PythiaRun(showers, seeds[1], HardFilter("none"), source=source)

    def _next_process(self) -> tuple[Any, Any]:
        """Return the present hard process until it has been showered as often as wanted."""
        if self._left == 0:
            self._present = self._hard.hard_event()
            self._left = self._replicas
        self._left -= 1
        return self._present

    @property
    def count(self) -> FilterCount:
        """Hard processes that were tried, and those that passed."""
        return self._hard.count

    def batches(self, n: int) -> Iterator[Truth]:
        """Yield at least `n` events in one batch: `replicas` in a row share their hard process.

        Rarely, Pythia fails to shower a process: the batch is made of others then.

        Raises:
            DataError: that happens again and again.
        """
        events = -(-n // self._replicas) * self._replicas
        for _ in range(_MOST_FAILED):
            self._left = 0
            truth = self._shower.exactly(events)
            if truth is not None and share_processes(truth, self._replicas):
                yield truth
                return
        raise DataError(f"Pythia cannot shower {events} events in a row: check the settings.")

    def cross_section(self) -> tuple[float, float]:
        """Return that of the hard process, see `PythiaRun`."""
        return self._hard.cross_section()


def share_processes(truth: Truth, replicas: int) -> bool:
    """Tell whether the incoming partons of every `replicas` events in a row are the same."""
    partons = truth.p4[truth.offsets[:-1, None] + _PARTONS].reshape(-1, replicas, 8)
    return bool((partons == partons[:, :1]).all())
