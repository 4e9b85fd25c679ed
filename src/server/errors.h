// Error replies that more than one place gives. Texts are Redis's, byte for byte.
#pragma once

#include "base/bytes.h"

namespace quoll::server::errors {

using base::Bytes;

inline constexpr Bytes kSyntax = "ERR syntax error";
inline constexpr Bytes kNotInteger = "ERR value is not an integer or out of range";
inline constexpr Bytes kNotFloat = "ERR value is not a valid float";
inline constexpr Bytes kOutOfRange = "ERR index out of range";
inline constexpr Bytes kNoSuchKey = "ERR no such key";
inline constexpr Bytes kWrongType =
    "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr Bytes kNoAuth = "NOAUTH Authentication required.";
inline constexpr Bytes kWrongPass = "WRONGPASS invalid username-password pair or user is disabled.";
inline constexpr Bytes kExecAbort = "EXECABORT Transaction discarded because of previous errors.";
inline constexpr Bytes kDbOutOfRange = "ERR DB index is out of range";
inline constexpr Bytes kStringTooLong =
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
inline constexpr Bytes kTimeoutNegative = "ERR timeout is negative";
inline constexpr Bytes kTimeoutOutOfRange = "ERR timeout is out of range";
inline constexpr Bytes kOutOfMemory = "OOM command not allowed when used memory > 'maxmemory'.";
inline constexpr Bytes kLoading = "LOADING Redis is loading the dataset in memory";
inline constexpr Bytes kNoProto = "NOPROTO unsupported protocol version";

// Client bytes inside an error text end at the first NUL, as Redis prints them.
constexpr Bytes shown(Bytes text) { return text.substr(0, text.find('\0')); }

inline constexpr Bytes kReadOnly = "READONLY You can't write against a read only replica.";
inline constexpr Bytes kUnblocked =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
inline constexpr Bytes kNoClusterSupport = "ERR This instance has cluster support disabled";
inline constexpr Bytes kReplicaKeyspace = "ERR Replica can't interact with the keyspace";
inline constexpr Bytes kDebugNotAllowed =
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you "
    "can "
    "run it from a local connection, otherwise you need to set this option in the configuration "
    "file, and then restart the server.";
inline constexpr Bytes kModuleNotAllowed =
    "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you "
    "can run it from a local connection, otherwise you need to set this option in the "
    "configuration "
    "file, and then restart the server.";

}  // namespace quoll::server::errors
