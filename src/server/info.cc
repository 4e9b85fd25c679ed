#include "server/info.h"

#include "base/text.h"
#include "server/info_writer.h"

namespace quoll::server {
namespace {

using base::Bytes;

constexpr uint8_t kDefault = 1;
constexpr uint8_t kAll = 2;
constexpr uint8_t kEverything = 4;
constexpr uint8_t kAlways = kDefault | kAll | kEverything;

struct Section {
  Bytes name;
  Bytes other_name;
  uint8_t groups;
  void (*write)(Server&, InfoWriter&);
};

// In the order of the reply.
constexpr Section kSections[] = {
    {"server", "", kAlways, info_server},
    {"clients", "", kAlways, info_clients},
    {"memory", "", kAlways, info_memory},
    {"persistence", "", kAlways, info_persistence},
    {"stats", "", kAlways, info_stats},
    {"replication", "", kAlways, info_replication},
    {"cpu", "", kAlways, info_cpu},
    {"modules", "module_list", kAlways, info_modules},
    {"commandstats", "", kAll | kEverything, info_commandstats},
    {"errorstats", "", kAlways, info_errorstats},
    {"latencystats", "", kAll | kEverything, info_latencystats},
    {"cluster", "", kAlways, info_cluster},
    {"quoll", "", kAlways, info_quoll},
    {"keyspace", "", kAlways, info_keyspace},
    {"keysizes", "", kAll | kEverything, info_keysizes},
};

uint8_t group_named(Bytes name) {
  if (base::equals_ignoring_case(name, "default")) return kDefault;
  if (base::equals_ignoring_case(name, "all")) return kAll;
  if (base::equals_ignoring_case(name, "everything")) return kEverything;
  return 0;
}

}  // namespace

InfoSections InfoSections::named(base::Args names) {
  constexpr Bytes kNoNames[] = {"default"};
  if (names.empty()) names = kNoNames;
  InfoSections sections;
  for (Bytes name : names) {
    const uint8_t group = group_named(name);
    for (unsigned i = 0; i < std::size(kSections); ++i) {
      const Section& section = kSections[i];
      if ((section.groups & group) || base::equals_ignoring_case(name, section.name) ||
          (!section.other_name.empty() && base::equals_ignoring_case(name, section.other_name)))
        sections.mask_ |= 1u << i;
    }
  }
  return sections;
}

std::string info_text(Server& server, const InfoSections& sections) {
  InfoWriter out;
  for (unsigned i = 0; i < std::size(kSections); ++i)
    if (sections.has(i)) kSections[i].write(server, out);
  return out.take();
}

}  // namespace quoll::server
