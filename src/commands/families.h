// What each family's file exports: its rows.
#pragma once

#include <span>

#include "server/command.h"

namespace quoll::commands {

using Family = std::span<const server::CommandSpec>;

Family string_commands();
Family list_commands();
Family generic_commands();
Family database_commands();
Family expire_commands();
Family object_commands();
Family connection_commands();
Family client_commands();
Family transaction_commands();
Family pubsub_commands();
Family server_commands();
Family cluster_commands();
Family config_commands();
Family module_commands();
Family acl_commands();
Family introspection_commands();
Family monitoring_commands();
Family latency_commands();
Family memory_commands();
Family debug_commands();
Family hotkeys_commands();
Family changes_commands();
Family hash_commands();
Family persistence_commands();
Family migrate_commands();
Family backup_commands();
Family replication_commands();
Family set_commands();
Family bitmap_commands();
Family hyperloglog_commands();
Family zset_commands();
Family geo_commands();
Family stream_commands();
Family sort_commands();
Family throttle_commands();
Family script_commands();
Family function_commands();

}  // namespace quoll::commands
