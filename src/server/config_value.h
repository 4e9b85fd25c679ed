// The small types configuration values are made of. Enumerations are spelled in the configuration
// as in their enumerator, with '-' for '_' (see directives_*.cc).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "host/tls_settings.h"

namespace quoll::server {

enum class Fsync : int { everysec, always, no };
enum class LogLevel : int { debug, verbose, notice, warning, nothing };
enum class LogFormat : int { text, json, logfmt };
enum class LogTimestamp : int { legacy, iso8601 };
enum class Supervision : int { upstart, systemd, detect, none };  // detect is spelled "auto"
enum class Permission : int { no, yes, local };                   // enable-*-command(s)
enum class Sanitize : int { no, yes, clients };
enum class DisklessLoad : int { disabled, on_empty_db, swapdb };
enum class PropagationError : int { ignore, panic, panic_on_replicas };
enum class OomScoreAdjust : int { no, relative, absolute };
enum class ChannelDefault : int { all_channels, reset_channels };
enum class EndpointType : int { ip, hostname, unknown_endpoint };
enum class Rebalance : int { manual, automatic };
// What clients are told whose keys are another node's: where to go, or the node's answer.
enum class ClusterRouting : int { redirect, proxy };
enum class CrossSlot : int { error, fanout };  // what a command with keys of several slots does
using TlsClientAuth = host::TlsClientAuth;
enum class TlsClientUser : uint8_t { off, common_name };  // who a client with a certificate is
enum class EvictionPolicy : int {
  volatile_lru,
  volatile_lfu,
  volatile_random,
  volatile_ttl,
  allkeys_lru,
  allkeys_lfu,
  allkeys_random,
  noeviction
};

// shutdown-on-sigint, shutdown-on-sigterm: a combination of these; 0 is "default".
constexpr int64_t kShutdownSave = 1;
constexpr int64_t kShutdownNosave = 2;
constexpr int64_t kShutdownNow = 4;
constexpr int64_t kShutdownForce = 8;

// One pair of `save`: a snapshot is due after `seconds` if at least `changes` keys changed.
struct SavePoint {
  int64_t seconds;
  int64_t changes;
  bool operator==(const SavePoint&) const = default;
};

// client-output-buffer-limit of one class of clients; a limit of 0 bytes is no limit.
struct OutputLimit {
  uint64_t hard;
  uint64_t soft;
  int64_t soft_seconds;
  bool operator==(const OutputLimit&) const = default;
};

enum class ClientClass : size_t { normal, replica, pubsub };
constexpr size_t kClientClasses = 3;

struct OutputLimits : std::array<OutputLimit, kClientClasses> {
  using std::array<OutputLimit, kClientClasses>::operator[];
  const OutputLimit& operator[](ClientClass kind) const { return at(static_cast<size_t>(kind)); }
  OutputLimit& operator[](ClientClass kind) { return at(static_cast<size_t>(kind)); }
};

enum class Durability : int { memory, fsync };  // when a member has a write

// How many members of a replica group must agree.
struct Quorum {
  enum class Kind : uint8_t {
    majority,
    all,
    lease,  // of reads: the leader relies on clocks and asks nobody; counts as a majority
    number
  };
  Kind kind = Kind::majority;
  unsigned number = 0;

  unsigned of(size_t members) const {
    if (kind == Kind::number) return number;
    return static_cast<unsigned>(kind == Kind::all ? members : members / 2 + 1);
  }
};

// replicaof: the node to follow; no host means none.
struct ReplicaOf {
  std::string host;
  int64_t port = 0;
  bool operator==(const ReplicaOf&) const = default;
};

}  // namespace quoll::server
