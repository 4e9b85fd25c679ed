#include "cluster/replica_dialect.h"

#include "base/numbers.h"
#include "base/text.h"

namespace quoll::cluster {
namespace {

bool is_any_of(base::Bytes word, std::initializer_list<base::Bytes> names) {
  for (base::Bytes name : names)
    if (base::equals_ignoring_case(word, name)) return true;
  return false;
}

}  // namespace

size_t msetex_keys(base::Args effect) {
  int64_t keys;
  if (effect.size() < 4 || !base::parse_int(effect[1], keys) || keys <= 0) return 0;
  return static_cast<uint64_t>(keys) <= (effect.size() - 2) / 2 ? static_cast<size_t>(keys) : 0;
}

bool knows_payload(base::Bytes payload) {
  constexpr size_t kFooterBytes = 10;
  if (payload.size() < kFooterBytes) return true;  // no payload at all
  const base::Bytes footer = payload.substr(payload.size() - kFooterBytes);
  const auto byte = [&](size_t i) {
    return static_cast<unsigned>(static_cast<uint8_t>(footer[i]));
  };
  return (byte(0) | byte(1) << 8) <= kReplicaRdbVersion;
}

Dialect dialect_of(base::Args effect) {
  const base::Bytes name = effect[0];
  switch (name.size()) {
    case 5:
      if (effect.size() > 1 && is_any_of(name, {"bitop"}) &&
          is_any_of(effect[1], {"diff", "diff1", "andor", "one"}))
        return Dialect::foreign;
      return Dialect::plain;
    case 6:
      if (is_any_of(name, {"msetex"}) && msetex_keys(effect) > 0) return Dialect::several;
      return is_any_of(name, {"hsetex"}) ? Dialect::foreign : Dialect::plain;
    case 7:
      if (effect.size() > 3 && is_any_of(name, {"restore"}) && !knows_payload(effect[3]))
        return Dialect::foreign;
      return Dialect::plain;
    case 8:
      return is_any_of(name, {"hpersist"}) ? Dialect::foreign : Dialect::plain;
    case 10:
      return is_any_of(name, {"hpexpireat"}) ? Dialect::foreign : Dialect::plain;
    default:
      return Dialect::plain;
  }
}

}  // namespace quoll::cluster
