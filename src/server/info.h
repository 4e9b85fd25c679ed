// The text of INFO: sections of "name:value" lines, in the order and under the names that Redis
// 7.4 gives them, so that monitoring tools read it unchanged. What this server does not have yet
// stands there with the value that an idle Redis shows. Fields of our own start with "quoll_".
//
//   # Server\r\n
//   redis_version:7.4.0\r\n
//   ...\r\n
//   \r\n
//   # Clients\r\n
//
// Cost: one string; the walk over all commands only for commandstats and latencystats.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace quoll::server {

class Server;

class InfoSections {
 public:
  // What `INFO name...` asks for: section names, "default", "all", "everything"; unknown names are
  // ignored, no name means default.
  static InfoSections named(base::Args names);

  bool has(unsigned section) const { return mask_ >> section & 1; }

 private:
  uint32_t mask_ = 0;
};

std::string info_text(Server& server, const InfoSections& sections);

}  // namespace quoll::server
