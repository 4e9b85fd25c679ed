#include "server/command_line.h"

#include <vector>

#include "base/text.h"

namespace quoll::server {

namespace {

bool is_option(base::Bytes argument) { return argument.starts_with("--"); }

// "--port" alone, without a value in the same argument.
bool is_bare_name(base::Bytes argument) {
  std::vector<std::string> words;
  return base::split_args(argument, words) && words.size() == 1;
}

}  // namespace

CommandLine parse_command_line(std::span<const base::Bytes> arguments) {
  CommandLine line;
  size_t at = 0;
  if (!arguments.empty() && arguments[0] == "-") {
    line.reads_stdin = true;
    ++at;
  } else if (!arguments.empty() && !arguments[0].starts_with('-')) {
    line.config_file = arguments[at++];
  }
  // After a bare name the next argument is its value even if it starts with "--".
  bool value_due = false;
  for (; at < arguments.size(); ++at) {
    const base::Bytes argument = arguments[at];
    const bool last = at + 1 == arguments.size();
    if (argument == "-" && last) {
      line.reads_stdin = true;
    } else if (is_option(argument) && !value_due) {
      if (!line.options.empty()) line.options += '\n';
      line.options += argument.substr(2);
      line.options += ' ';
      value_due = is_bare_name(argument);
      // A bare --save, as scripts produce it from an empty list, means `save ""`.
      if (value_due && base::equals_ignoring_case(argument, "--save") &&
          (last || is_option(arguments[at + 1]))) {
        line.options += "\"\"";
        value_due = false;
      }
    } else {
      line.options += base::quoted(argument) + ' ';
      value_due = false;
    }
  }
  return line;
}

}  // namespace quoll::server
