// FUNCTION LOAD, DELETE, FLUSH, RESTORE. On a node of a cluster libraries are what all nodes agree
// on: the change is one of the cluster's documents, and the reply waits until it has come about.
#include "base/text.h"
#include "cluster/library_documents.h"
#include "commands/cluster_wait.h"
#include "commands/function_family.h"
#include "server/cluster_documents.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"
#include "wire/rdb_reader.h"
#include "wire/rdb_writer.h"

namespace quoll::commands {

using namespace server;
using base::equals_ignoring_case;
using cluster::LibraryDocument;
using cluster::LibraryPresent;

namespace {

using OnPresent = ScriptLibraries::OnPresent;

ScriptLibraries& libraries_here(Call& call) { return call.server.scripts().libraries(); }

// The libraries changed: a touch of no key, so that the command is journaled.
void note_change(Call& call) {
  call.store.commits().touch(call.db, {}, store::kEventLibraries, store::Change::keyless);
}

// The node whose cluster agrees on libraries; nullptr: they are this server's own, or a log is
// replayed.
ClusterNode* agreeing_node(Call& call) {
  return call.store.commits().origin() == store::Origin::client ? call.server.node() : nullptr;
}

const std::string* document_of(const ClusterNode& node, const std::string& library) {
  return cluster::find_document(node.topology(), cluster::DocumentKind::function, library);
}

base::Result<LibraryDocument> examined(Call& call, Bytes code) {
  auto made = libraries_here(call).examine(code);
  if (!made) return base::Error{made.error()};
  return LibraryDocument{std::move(made.value().name), std::string(code),
                         std::move(made.value().functions)};
}

void load_for_all(Call& call, ClusterNode& node, LibraryPresent on_present) {
  auto library = examined(call, call.arg(call.argc() - 1));
  if (!library) return call.reply.error("ERR " + library.error());
  const std::string& name = library.value().name;
  if (const std::string* present = document_of(node, name);
      present && on_present == LibraryPresent::refuse) {
    if (*present == library.value().encode() && node.documents().changed_by_others(name))
      return call.reply.bulk(name);
    return call.reply.error("ERR Library '" + name + "' already exists");
  }
  begin_change(call, node, [library = library.value(), on_present](const cluster::Topology& now) {
    return cluster::next_to_load(now, library, on_present);
  });
}

void load_here(Call& call, LibraryPresent on_present) {
  // What was loaded once is loaded again, however long it takes.
  const bool timed = call.store.commits().origin() == store::Origin::client;
  const auto present =
      on_present == LibraryPresent::replace ? OnPresent::replace : OnPresent::refuse;
  auto loaded = libraries_here(call).load(call.arg(call.argc() - 1), present, timed);
  if (!loaded) return call.reply.error("ERR " + loaded.error());
  note_change(call);
  call.reply.bulk(loaded.value());
}

}  // namespace

void function_load(Call& call) {
  ClusterNode* node = agreeing_node(call);
  auto reply_name = [&] {
    auto head = read_library_head(call.arg(call.argc() - 1));
    if (!head) return call.reply.error("ERR " + head.error());
    node->documents().changed_here(head.value().name);
    call.reply.bulk(head.value().name);
  };
  if (node && concluded(call, *node, reply_name)) return;
  auto on_present = LibraryPresent::refuse;
  for (size_t i = 2; i + 1 < call.argc(); ++i) {
    if (!equals_ignoring_case(call.arg(i), "replace"))
      return call.reply.error("ERR Unknown option given: " + std::string(call.arg(i)));
    on_present = LibraryPresent::replace;
  }
  if (node)
    load_for_all(call, *node, on_present);
  else
    load_here(call, on_present);
}

void function_delete(Call& call) {
  const std::string name(call.arg(2));
  if (ClusterNode* node = agreeing_node(call)) {
    auto reply_ok = [&] {
      node->documents().changed_here(name);
      call.reply.ok();
    };
    if (concluded(call, *node, reply_ok)) return;
    if (document_of(*node, name))
      return begin_change(call, *node, [name](const cluster::Topology& now) {
        return cluster::next_to_unload(now, name);
      });
    if (node->documents().changed_by_others(name)) return call.reply.ok();
    return call.reply.error("ERR Library not found");
  }
  if (!libraries_here(call).remove(name)) return call.reply.error("ERR Library not found");
  note_change(call);
  call.reply.ok();
}

void function_flush(Call& call) {
  ClusterNode* node = agreeing_node(call);
  auto reply_ok = [&] {
    node->documents().all_changed_here();
    call.reply.ok();
  };
  if (node && concluded(call, *node, reply_ok)) return;
  const bool mode = call.argc() == 3 && (equals_ignoring_case(call.arg(2), "sync") ||
                                         equals_ignoring_case(call.arg(2), "async"));
  if (call.argc() > 3) return call.subcommand_error();
  if (call.argc() > 2 && !mode)
    return call.reply.error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
  if (node)
    return begin_change(call, *node, [](const cluster::Topology& now) {
      return cluster::next_to_restore(now, {}, LibraryPresent::replace, true);
    });
  libraries_here(call).flush();
  note_change(call);
  call.reply.ok();
}

namespace {

// The codes in a payload; an error text when it holds something else.
Bytes read_codes(Bytes payload, std::vector<std::string>& codes) {
  Bytes body;
  if (wire::check_dump_footer(payload, wire::kRdbVersionReadMax, body) != wire::DumpFooter::good)
    return "ERR DUMP payload version or checksum are wrong";
  wire::RdbReader in(body);
  while (!in.at_end()) {
    uint8_t opcode;
    std::string scratch;
    wire::RdbString code;
    if (!in.byte(opcode)) return "ERR failed loading functions payload";
    if (opcode == static_cast<uint8_t>(wire::RdbOpcode::function_pre_ga))
      return "ERR Pre-GA function format not supported";
    if (opcode != static_cast<uint8_t>(wire::RdbOpcode::function_2))
      return "ERR given type is not a function";
    if (!in.string(code, scratch)) return "ERR Failed loading library code";
    codes.emplace_back(code.bytes);
  }
  return {};
}

struct RestorePolicy {
  LibraryPresent on_present = LibraryPresent::refuse;
  bool flush = false;
};

// False: the error was replied.
bool read_policy(Call& call, RestorePolicy& policy) {
  if (call.argc() > 4) return call.subcommand_error(), false;
  if (call.argc() < 4 || equals_ignoring_case(call.arg(3), "append")) return true;
  policy.flush = equals_ignoring_case(call.arg(3), "flush");
  if (equals_ignoring_case(call.arg(3), "replace")) policy.on_present = LibraryPresent::replace;
  if (policy.flush || policy.on_present == LibraryPresent::replace) return true;
  call.reply.error(
      "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
  return false;
}

void restore_for_all(Call& call, ClusterNode& node, const std::vector<std::string>& codes,
                     RestorePolicy policy) {
  std::vector<LibraryDocument> libraries;
  for (const std::string& code : codes) {
    auto library = examined(call, code);
    if (!library) return call.reply.error("ERR " + library.error());
    const std::string& name = library.value().name;
    if (std::ranges::find(libraries, name, &LibraryDocument::name) != libraries.end())
      return call.reply.error("ERR Library " + name + " already exists");
    libraries.push_back(std::move(library.value()));
  }
  begin_change(call, node, [libraries, policy](const cluster::Topology& now) {
    return cluster::next_to_restore(now, libraries, policy.on_present, policy.flush);
  });
}

}  // namespace

void function_restore(Call& call) {
  ClusterNode* node = agreeing_node(call);
  auto reply_ok = [&] {
    node->documents().all_changed_here();
    call.reply.ok();
  };
  if (node && concluded(call, *node, reply_ok)) return;
  RestorePolicy policy;
  if (!read_policy(call, policy)) return;
  std::vector<std::string> codes;
  if (Bytes error = read_codes(call.arg(2), codes); !error.empty()) return call.reply.error(error);
  if (node) return restore_for_all(call, *node, codes, policy);
  const bool replaces = policy.on_present == LibraryPresent::replace;
  auto done = libraries_here(call).load_all(
      codes, replaces ? OnPresent::replace : OnPresent::refuse, policy.flush, true);
  if (!done) return call.reply.error("ERR " + done.error());
  note_change(call);
  call.reply.ok();
}

}  // namespace quoll::commands
