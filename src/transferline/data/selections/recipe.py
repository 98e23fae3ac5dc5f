"""The recipe of a selection, spelled in YAML; shipped ones stand beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from transferline.config import Recipe, added, load_config
from transferline.data.selections.working_points import btag_threshold, jet_puid_bits
from transferline.errors import ConfigError, did_you_mean

WorkingPoint = Literal["loose", "medium", "tight"]


class Kinematics(Recipe):
    """Cuts that every kind of object has.

    Attributes:
        pt_min: GeV.
        abs_eta_max: largest |eta|.
    """

    pt_min: float = Field(ge=0)
    abs_eta_max: float = Field(gt=0)


class LeptonCuts(Kinematics):
    """Cuts on electrons or muons.

    Attributes:
        leading_pt_min: GeV; at least one selected lepton of the event must exceed it (trigger
            plateau), the others only `pt_min`.
        rel_iso_max: largest relative particle-flow isolation.
        dxy_max, dz_max: cm, absolute values.
    """

    leading_pt_min: float = Field(ge=0)
    rel_iso_max: float | None = None
    dxy_max: float | None = None
    dz_max: float | None = None


class ElectronCuts(LeptonCuts):
    """Cuts on electrons.

    Attributes:
        cut_based_min: 0 fail, 1 veto, 2 loose, 3 medium, 4 tight.
        mva_iso_wp90: demand the MVA identification at 90 % efficiency.
        sc_gap: |eta| of the supercluster between these two bounds is left out (the gap
            between barrel and endcap).
    """

    cut_based_min: int | None = Field(default=None, ge=0, le=4)
    mva_iso_wp90: bool = False
    sc_gap: tuple[float, float] | None = None


class MuonCuts(LeptonCuts):
    """Cuts on muons; at most one of the identifications is needed, tight implies the others."""

    tight_id: bool = False
    medium_id: bool = False
    loose_id: bool = False


class TauCuts(Kinematics):
    """Cuts on hadronic taus.

    Attributes:
        vs_jet_level_min: DeepTau against jets, 0 none, 4 loose, 5 medium, 6 tight.
        vs_electron_level_min: against electrons, 2 VVLoose, 6 tight; not asked for unless given.
        vs_muon_level_min: against muons, 1 VLoose, 4 tight; not asked for unless given.
        decay_modes: allowed ones.
        dz_max: cm.
        overlap_dr: taus nearer than this to a selected electron or muon are removed.
    """

    vs_jet_level_min: int = Field(default=5, ge=0, le=8)
    vs_electron_level_min: int | None = added(None, ge=0, le=8)
    vs_muon_level_min: int | None = added(None, ge=0, le=4)
    decay_modes: tuple[int, ...] = (0, 1, 10, 11)
    dz_max: float | None = 0.2
    overlap_dr: float = 0.4


class BTag(Recipe):
    """A tagger (branch `Jet_<tagger>`) and its working point, looked up for the era."""

    tagger: str
    working_point: WorkingPoint


class PuId(Recipe):
    """Pile-up identification of CHS jets; `working_point` must be passed below `pt_max` GeV."""

    working_point: WorkingPoint
    pt_max: float = 50.0


class JetCuts(Kinematics):
    """Cuts on jets.

    Attributes:
        jet_id_bit: bit of `Jet_jetId` that must be set (1 tight, 2 tightLepVeto), or null.
        pu_id: null for PUPPI jets.
        overlap_dr: jets nearer than this to a selected electron, muon or tau are removed.
        btag: what makes a jet a b-jet.
    """

    jet_id_bit: int | None = Field(default=1, ge=0, le=7)
    pu_id: PuId | None = None
    overlap_dr: float = 0.4
    btag: BTag


class _Sparse(Recipe):
    """A recipe with keys that came later: unused ones leave its dictionary, and its hash, alone.

    Samples, cards and checkpoints made before such a key existed are then still found.
    """

    _later: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        every: dict[str, Any] = handler(self)
        return {k: v for k, v in every.items() if v is not None or k not in self._later}


class EventCuts(_Sparse):
    """Smallest numbers of objects. Leptons are electrons and muons; jets include b-jets.

    Attributes:
        leptons_min, taus_min, jets_min, bjets_min: as many or more.
        leptons_max: no more selected leptons than these; null for no limit.
        met_min: GeV; the missing transverse momentum must exceed it; null for no cut.
    """

    _later = frozenset({"leptons_max", "met_min"})

    leptons_min: int = Field(default=0, ge=0)
    taus_min: int = Field(default=0, ge=0)
    jets_min: int = Field(default=0, ge=0)
    bjets_min: int = Field(default=0, ge=0)
    leptons_max: int | None = Field(default=None, ge=0)
    met_min: float | None = Field(default=None, ge=0)


class FixedNodes(Recipe):
    """Numbers of objects that every event keeps, beside the missing momentum (`met`).

    Attributes:
        leptons: electrons and muons of highest pT.
        taus: hadronic taus of highest pT.
        bjets: jets of highest b-tag discriminant. They become b-jets, whether or not they pass
            the working point; `cuts.bjets_min` says how many of them must.
        jets: of the other jets those of highest pT. They become light jets.
    """

    leptons: int = Field(default=0, ge=0)
    taus: int = Field(default=0, ge=0)
    bjets: int = Field(default=0, ge=0)
    jets: int = Field(default=0, ge=0)

    @property
    def total(self) -> int:
        """All of them."""
        return self.leptons + self.taus + self.bjets + self.jets


class Selection(_Sparse):
    """Objects and cuts that turn a file's events into a sample.

    Attributes:
        name, comment: what it is and where it comes from.
        era: chooses the working points, for example `2016postVFP`.
        triggers: at least one must have fired; empty = no requirement.
        veto_triggers: none may have fired; keeps an event that two primary data sets hold
            from entering twice (electron data veto the muon triggers).
        filters: all must be passed.
        golden_json: path of the certified luminosity blocks, applied to collision data only;
            relative paths start at the working directory.
        electrons, muons, taus, jets: object definitions; `taus: null` means that no taus are
            looked for (some files have none).
        met: add the missing transverse momentum as an object with eta = 0 and mass = 0.
        max_objects: larger events lose their softest jets; the card counts them.
        cuts: event cuts.
        nodes: keep exactly these objects and drop the rest, so that all events have the same
            size; null keeps every object.
    """

    _later = frozenset({"nodes"})

    name: str
    comment: str = ""
    era: str
    triggers: tuple[str, ...] = ()
    veto_triggers: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    golden_json: str | None = None
    electrons: ElectronCuts
    muons: MuonCuts
    taus: TauCuts | None = None
    jets: JetCuts
    met: bool = True
    max_objects: int = Field(default=16, ge=1)
    cuts: EventCuts = EventCuts()
    nodes: FixedNodes | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Selection:
        btag_threshold(self.era, self.jets.btag.tagger, self.jets.btag.working_point)
        if self.jets.pu_id is not None:
            jet_puid_bits(self.era, self.jets.pu_id.working_point)
        if self.taus is None and self.cuts.taus_min:
            raise ValueError("cuts.taus_min asks for taus, but `taus:` is not defined")
        return self

    @model_validator(mode="after")
    def _nodes_exist(self) -> Selection:
        """Every event that passes must have its nodes."""
        if self.nodes is None:
            return self
        jets = self.nodes.bjets + self.nodes.jets
        wanted = {"leptons": self.nodes.leptons, "taus": self.nodes.taus, "jets": jets}
        for kind, number in wanted.items():
            if getattr(self.cuts, f"{kind}_min") < number:
                raise ValueError(f"nodes are {number} {kind}: cuts.{kind}_min must ask for them")
        if self.nodes.total + self.met > self.max_objects:
            raise ValueError("more nodes than max_objects")
        return self

    @property
    def btag_cut(self) -> float:
        """The smallest discriminant of a b-jet."""
        return btag_threshold(self.era, self.jets.btag.tagger, self.jets.btag.working_point)


HERE = Path(__file__).parent
_NOT_SELECTIONS = ("objects", "btag_working_points", "jets", "jet_events", "replicas")


def shipped() -> list[str]:
    """Return the names of the selections of events that come with the package."""
    return sorted(p.stem for p in HERE.glob("*.yaml") if p.stem not in _NOT_SELECTIONS)


def selection(name_or_path: str | Path) -> Selection:
    """Load a shipped selection by name, or any by the path of its YAML file.

    Raises:
        ConfigError: no such selection, or the file has errors (each with line and column).

    >>> selection("l1_j4_b1").cuts.jets_min
    4
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")):
        return load_config(Path(text), Selection)
    if text not in shipped():
        hint = did_you_mean(text, shipped())
        raise ConfigError(f"'{text}' is not a shipped selection nor a .yaml file.{hint}")
    return load_config(HERE / f"{text}.yaml", Selection)
