// The arguments of the server's command line, turned into configuration text.
//
//   quoll-server [FILE | -] [--name value...]... [-]
//
// "--name value" may be one argument; `--save ''` and a bare `--save` mean no save points; a first
// or last argument "-" reads more configuration from standard input. Each option becomes one line
// of text that is read after the file and standard input.
#pragma once

#include <span>
#include <string>

#include "base/bytes.h"

namespace quoll::server {

struct CommandLine {
  std::string config_file;  // as given; empty: none
  bool reads_stdin = false;
  std::string options;  // lines of configuration
};

// `arguments` are those after the program's name.
CommandLine parse_command_line(std::span<const base::Bytes> arguments);

}  // namespace quoll::server
