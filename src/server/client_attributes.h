// What a client may call itself (CLIENT SETNAME, CLIENT SETINFO, HELLO SETNAME), and the line that
// CLIENT LIST and CLIENT INFO show of it.
#pragma once

#include <string>

#include "server/call.h"

namespace quoll::server {

inline constexpr base::Bytes kBadClientName =
    "ERR Client names cannot contain spaces, newlines or special characters.";

// Printable ASCII without blanks; empty is fine and unsets.
constexpr bool is_client_attribute(base::Bytes text) {
  for (char c : text)
    if (c < '!' || c > '~') return false;
  return true;
}

enum class ClientType : uint8_t { normal, replica, pubsub, master };

// Case is ignored; "slave" is replica. False: no such type.
bool parse_client_type(base::Bytes name, ClientType& type);
ClientType client_type(const Session& session);
// The line of the link to this server's primary; nothing without one.
void append_primary_line(std::string& out, const Call& call);

// "id=3 addr=127.0.0.1:5000 ... lib-ver=" without a line end.
void append_client_line(std::string& out, const Call& call, const Session& session);

}  // namespace quoll::server
