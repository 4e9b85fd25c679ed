// What /metrics tells, in Prometheus's text format (version 0.0.4). Every number of INFO is there:
// under the name that redis_exporter gives it where it has one, so that existing dashboards and
// alerts work, else as redis_<field>; what only this server has as quoll_<field>.
//
//   # TYPE redis_connected_clients gauge
//   redis_connected_clients 3
//
// Cost: INFO everything and one pass over it.
#pragma once

#include <string>

namespace quoll::server {

class Server;

std::string metrics_text(Server& server);

}  // namespace quoll::server
