// A Sherpa 3 user hook that writes every event to the file descriptor TRANSFERLINE_RECORD_FD.
//
// Compiled once against the headers of the wheel; record.py reads what it writes and describes the
// layout. The record follows Pythia's conventions, which the detector and the truth code know:
// entry 0 stands for the event, daughters lie side by side, hard particles have status 21 to 23.

#include "ATOOLS/Phys/Blob_List.H"
#include "SHERPA/Main/Sherpa.H"
#include "SHERPA/Tools/Userhook_Base.H"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <unordered_map>
#include <vector>

using namespace ATOOLS;
using namespace SHERPA;

namespace {

const char MAGIC[8] = {'T', 'L', 'S', 'H', 'E', 'R', 'P', '1'};
const int SYSTEM = 90, INCOMING = 21, RESONANCE = 22, OUTGOING = 23, OTHER = 2, FINAL = 1;

#pragma pack(push, 1)
struct EventHeader {
  int32_t entries;
  double weight, trials;  // pb; sum(weight) / sum(trials) is the cross section
  double unit;            // pb; what an event weighs unless the integration missed its maximum
};
struct Entry {
  int32_t pdg_id, status, mother, daughter1, daughter2, charge;
  double px, py, pz, energy;  // GeV
  float x, y, z;              // mm
};
#pragma pack(pop)

bool is_parton(const Particle *particle) {
  const long code = std::labs(static_cast<long>(particle->Flav()));
  return code < 10 || code == 21 || particle->Flav().IsDiQuark();
}

bool is_lepton(const Particle *particle) {
  const long code = std::labs(static_cast<long>(particle->Flav()));
  return code > 10 && code < 19;
}

bool is_hard(const Blob *blob) {
  return blob && (blob->Type() == btp::Signal_Process || blob->Type() == btp::Hard_Decay);
}

double distance2(const Particle *a, const Particle *b) {
  return (Vec3D(a->Momentum()) - Vec3D(b->Momentum())).Sqr();
}

// A shower takes all its partons and leptons at once: the nearest of the same kind is the same.
Particle *same_lepton(Particle *wanted, const Particle_Vector &among) {
  Particle *best = nullptr;
  for (Particle *other : among)
    if (static_cast<long>(other->Flav()) == static_cast<long>(wanted->Flav()) &&
        (!best || distance2(other, wanted) < distance2(best, wanted)))
      best = other;
  return best;
}

// Hadrons decay to partons, which hadronise: the hadron counts as the mother of what comes out.
Particle *mother_of_all(Blob *blob) {
  if (blob->NInP() == 0) return nullptr;
  Particle *first = blob->InParticle(0), *above = first;
  for (int depth = 0; depth < 20 && is_parton(above); ++depth) {
    Blob *origin = above->ProductionBlob();
    if (!origin || origin->NInP() == 0 || is_hard(origin)) return first;
    above = origin->InParticle(0);
  }
  return above->Flav().IsHadron() && above->ProductionBlob() &&
                 above->ProductionBlob()->Type() != btp::Bunch
             ? above
             : first;
}

int status_of(Particle *particle, bool incoming) {
  const bool final = particle->Status() == part_status::active && !particle->DecayBlob();
  int code = final ? FINAL : OTHER;
  if (incoming)
    code = INCOMING;
  else if (is_hard(particle->ProductionBlob()))
    code = is_hard(particle->DecayBlob()) ? RESONANCE : OUTGOING;
  return final ? code : -code;
}

class RecordHook : public Userhook_Base {
  int m_file;
  std::vector<Particle *> m_order;
  std::unordered_map<const Particle *, int32_t> m_number;
  std::vector<char> m_buffer;

 public:
  explicit RecordHook(const Userhook_Arguments &)
      : Userhook_Base("TransferlineRecord"), m_file(-1) {
    const char *number = std::getenv("TRANSFERLINE_RECORD_FD");
    if (number) m_file = std::atoi(number);
    write_all(MAGIC, sizeof(MAGIC));
  }

  Return_Value::code Run(Blob_List *blobs) override {
    Blob *signal = blobs->FindFirst(btp::Signal_Process);
    if (!signal) return Return_Value::Nothing;
    number_particles(blobs, signal);
    m_buffer.clear();
    put(header(blobs, signal));
    Entry system = {};
    system.pdg_id = SYSTEM;
    system.status = -11;
    put(system);
    for (Particle *particle : m_order) put(entry(particle, signal));
    write_all(m_buffer.data(), m_buffer.size());
    return Return_Value::Nothing;
  }

 private:
  void add(Particle *particle) {
    if (m_number.emplace(particle, m_order.size() + 1).second) m_order.push_back(particle);
  }

  // Incoming partons first; then blob by blob, so that the daughters of each lie side by side.
  void number_particles(Blob_List *blobs, Blob *signal) {
    m_order.clear();
    m_number.clear();
    for (Particle *particle : *signal->InParticles()) add(particle);
    for (Blob *blob : *blobs) {
      for (Particle *particle : *blob->InParticles())
        if (!particle->ProductionBlob()) add(particle);
    }
    for (Blob *blob : *blobs)
      for (Particle *particle : *blob->OutParticles()) add(particle);
  }

  EventHeader header(Blob_List *blobs, Blob *signal) {
    EventHeader result = {};
    result.entries = static_cast<int32_t>(m_order.size() + 1);
    result.weight = blobs->Weight();
    result.trials = (*signal)["Trials"] ? (*signal)["Trials"]->Get<double>() : 1.0;
    const Weights_Map weights = blobs->WeightsMap();
    const auto branching = weights.find("BR");
    result.unit = (*signal)["Weight_Norm"] ? (*signal)["Weight_Norm"]->Get<double>() : 1.0;
    if (branching != weights.end()) result.unit *= branching->second.Nominal();
    return result;
  }

  int32_t number(const Particle *particle) {
    const auto found = m_number.find(particle);
    return found == m_number.end() ? 0 : found->second;
  }

  Particle *mother(Particle *particle) {
    Blob *blob = particle->ProductionBlob();
    if (!blob) return nullptr;
    if (blob->NInP() > 1 && is_lepton(particle)) {
      Particle *before = same_lepton(particle, *blob->InParticles());
      if (before) return before;
    }
    return mother_of_all(blob);
  }

  void set_daughters(Particle *particle, Entry &entry) {
    Blob *blob = particle->DecayBlob();
    if (!blob || blob->NOutP() == 0) return;
    if (blob->NInP() > 1 && is_lepton(particle)) {
      entry.daughter1 = entry.daughter2 = number(same_lepton(particle, *blob->OutParticles()));
      return;
    }
    // The incoming partons of the hard process stand apart, at the beginning of the record.
    for (Particle *out : *blob->OutParticles()) {
      const int32_t here = number(out);
      if (is_hard(out->DecayBlob()) && !is_hard(blob)) continue;
      if (entry.daughter1 == 0) entry.daughter1 = here;
      entry.daughter2 = here;
    }
  }

  Entry entry(Particle *particle, Blob *signal) {
    Entry result = {};
    const bool incoming = particle->DecayBlob() == signal;
    const Vec4D momentum = particle->Momentum(), position = particle->XProd();
    result.pdg_id = static_cast<int32_t>(static_cast<long>(particle->Flav()));
    result.status = status_of(particle, incoming);
    result.mother = incoming ? 0 : number(mother(particle));
    set_daughters(particle, result);
    result.charge = particle->Flav().IntCharge() / 3;
    result.px = momentum[1];
    result.py = momentum[2];
    result.pz = momentum[3];
    result.energy = momentum[0];
    result.x = static_cast<float>(position[1]);
    result.y = static_cast<float>(position[2]);
    result.z = static_cast<float>(position[3]);
    return result;
  }

  template <class Type> void put(const Type &value) {
    const char *begin = reinterpret_cast<const char *>(&value);
    m_buffer.insert(m_buffer.end(), begin, begin + sizeof(Type));
  }

  // Whoever reads has all the events it wants, or has died: in both cases there is no more to do.
  void write_all(const char *data, size_t size) {
    while (size > 0) {
      const ssize_t done = ::write(m_file, data, size);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) std::_Exit(1);
      data += done;
      size -= static_cast<size_t>(done);
    }
  }
};

}  // namespace

DECLARE_USERHOOK_GETTER(RecordHook, "TransferlineRecord")
