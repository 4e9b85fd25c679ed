// AclLog: what was refused lately and to whom (ACL LOG), newest first.
//
// A refusal like one of the last kCompared, not more than kGroupedMs ago, is counted there instead
// of getting an entry of its own; the entry moves to the front.
// Cost: as many entries as acllog-max-len allows.
#pragma once

#include <deque>
#include <string>

#include "server/acl_selector.h"

namespace quoll::server {

enum class AclContext : uint8_t { toplevel, multi, lua, module };
Bytes context_name(AclContext context);
Bytes reason_name(Denied reason);

struct AclLogEntry {
  Denied reason = Denied::no;
  AclContext context = AclContext::toplevel;
  std::string object;  // the command, key or channel
  std::string user;
  std::string client;  // a line of CLIENT LIST
  base::Millis created_ms = 0;
  base::Millis updated_ms = 0;
  uint64_t id = 0;
  uint64_t count = 1;
};

class AclLog {
 public:
  // Sets the entry's id and times.
  void add(AclLogEntry entry, base::Millis now, size_t entries_max);
  void clear() { entries_.clear(); }
  const std::deque<AclLogEntry>& entries() const { return entries_; }

 private:
  static constexpr base::Millis kGroupedMs = 60 * 1000;
  static constexpr size_t kCompared = 10;

  std::deque<AclLogEntry> entries_;
  uint64_t next_id_ = 0;
};

}  // namespace quoll::server
