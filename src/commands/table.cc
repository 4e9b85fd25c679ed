#include "commands/table.h"

#include "commands/families.h"

namespace quoll::commands {

std::span<const Family> families() {
  static const Family kFamilies[] = {
      string_commands(),        list_commands(),        generic_commands(),
      expire_commands(),        object_commands(),      database_commands(),
      connection_commands(),    client_commands(),      transaction_commands(),
      pubsub_commands(),        server_commands(),      config_commands(),
      cluster_commands(),       module_commands(),      acl_commands(),
      introspection_commands(), monitoring_commands(),  latency_commands(),
      memory_commands(),        debug_commands(),       hash_commands(),
      persistence_commands(),   backup_commands(),      replication_commands(),
      set_commands(),           stream_commands(),      sort_commands(),
      throttle_commands(),      zset_commands(),        geo_commands(),
      bitmap_commands(),        hyperloglog_commands(), script_commands(),
      function_commands(),      hotkeys_commands(),     changes_commands(),
      migrate_commands(),
  };
  return kFamilies;
}

}  // namespace quoll::commands
