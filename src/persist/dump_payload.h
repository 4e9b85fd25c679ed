// DUMP payloads: one value in its RDB form, with the RDB version and a CRC64 behind it.
#pragma once

#include <string>

#include "base/result.h"
#include "persist/value_codec.h"

namespace quoll::persist {

// In the given RDB version, or the first later one that can hold the value. O(N).
std::string dump_payload(const store::Entry& entry, unsigned version, bool compress);

enum class PayloadFault : uint8_t { none, footer, value };
// Reads a payload of any version. `scratch` must outlive `value`. Empty collections are faulty.
// `verify`: the checksum must fit.
PayloadFault read_payload(base::Bytes payload, const DecodeOptions& options, std::string& scratch,
                          data::Value& value, bool verify = true);

}  // namespace quoll::persist
