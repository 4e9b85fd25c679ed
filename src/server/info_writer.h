// InfoWriter: appends INFO's lines to one string. Used by the files that fill the sections.
#pragma once

#include <fmt/core.h>

#include <iterator>
#include <string>

#include "base/numbers.h"

namespace quoll::server {

class Server;

class InfoWriter {
 public:
  void section(const char* title) {
    if (!text_.empty()) text_ += "\r\n";
    fmt::format_to(std::back_inserter(text_), "# {}\r\n", title);
  }
  template <class Value>
  void field(const char* name, const Value& value) {
    fmt::format_to(std::back_inserter(text_), "{}:{}\r\n", name, value);
  }
  // One line with its own form.
  template <class... Values>
  void line(fmt::format_string<Values...> form, Values&&... values) {
    fmt::format_to(std::back_inserter(text_), form, std::forward<Values>(values)...);
    text_ += "\r\n";
  }
  void ratio(const char* name, double value) { line("{}:{:.2f}", name, value); }
  // `name` and, for people, `name`_human.
  void memory(const char* name, uint64_t bytes) {
    field(name, bytes);
    line("{}_human:{}", name, base::format_memory_human(bytes));
  }
  // Fields that have the same value here as in an idle Redis.
  template <class... Names>
  void zeros(Names... names) {
    (field(names, 0), ...);
  }

  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// One function per section, in info_*.cc.
void info_server(Server& server, InfoWriter& out);
void info_clients(Server& server, InfoWriter& out);
void info_memory(Server& server, InfoWriter& out);
void info_persistence(Server& server, InfoWriter& out);
void info_stats(Server& server, InfoWriter& out);
void info_replication(Server& server, InfoWriter& out);
void info_cpu(Server& server, InfoWriter& out);
void info_modules(Server& server, InfoWriter& out);
void info_commandstats(Server& server, InfoWriter& out);
void info_errorstats(Server& server, InfoWriter& out);
void info_latencystats(Server& server, InfoWriter& out);
void info_cluster(Server& server, InfoWriter& out);
void info_quoll(Server& server, InfoWriter& out);
void info_keyspace(Server& server, InfoWriter& out);
void info_keysizes(Server& server, InfoWriter& out);

}  // namespace quoll::server
