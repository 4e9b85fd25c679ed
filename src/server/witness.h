// Witness: this server as a member of a group whose data others have: it keeps the log and votes,
// so that two with the data go on when one of them is gone.
//
// Cost: the log, of which so much is kept as members do, and no memory for keys.
#pragma once

#include "server/log_member.h"

namespace quoll::server {

class Witness final : public LogMember {
 public:
  Witness(const host::Host& host, GroupPart part)
      : LogMember(host, std::move(part), std::nullopt) {}

 private:
  void apply() override {
    skip_committed();
    if (log_bytes() >= part().config.log_keep_bytes) trim(core_->commit());
  }
  std::optional<std::string> data() const override { return {}; }
  bool take_data(base::Bytes) override { return true; }
};

}  // namespace quoll::server
