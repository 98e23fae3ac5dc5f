"""Generate top pairs and look at their jets with awkward arrays.

Run: python examples/generate_and_read.py [EVENTS]
"""

import sys
import tempfile
from pathlib import Path

import awkward as ak

from transferline.data.readers.nanoaod import NanoAOD
from transferline.generate.events import generate_events


def main(n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ttbar.root"
        made = generate_events("ttbar_1l", file, n=n, seed=1, mpi=False)
        print(f"{made.events} events in {made.seconds:.0f} s, {made.tried} were tried")
        columns = {"jet": ["pt", "eta", "phi", "mass", "btagDeepFlavB"], "context": []}
        for events in NanoAOD(files=[str(file)]).chunks(columns):
            jets = events.particles["jet"]
            jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.4)]
            print(f"jets per event: {ak.mean(ak.num(jets)):.2f}")
            print(f"leading jet: {ak.mean(ak.max(jets.pt, axis=1)):.0f} GeV on average")
            tagged = ak.sum(jets.btagDeepFlavB > 0.2489, axis=1)
            print(f"two b-tags: {ak.mean(tagged >= 2):.0%} of the events")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
