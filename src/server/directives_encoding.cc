// Up to which size values stay in their compact form.
#include "server/directive.h"

namespace quoll::server {

namespace {

constexpr Directive kEncodingRows[] = {
    {.name = "hash-max-listpack-entries",
     .alias = "hash-max-ziplist-entries",
     .value = Integer{&Settings::hash_max_listpack_entries, 0, kInt64Max}},
    {.name = "hash-max-listpack-value",
     .alias = "hash-max-ziplist-value",
     .value = Integer{&Settings::hash_max_listpack_value, 0, kInt64Max, Notation::memory}},
    {.name = "list-max-listpack-size",
     .alias = "list-max-ziplist-size",
     .value = Integer{&Settings::list_max_listpack_size, kInt32Min, kInt32Max}},
    {.name = "list-compress-depth", .value = Integer{&Settings::list_compress_depth, 0, kInt32Max}},
    {.name = "set-max-intset-entries",
     .value = Integer{&Settings::set_max_intset_entries, 0, kInt64Max}},
    {.name = "set-max-listpack-entries",
     .value = Integer{&Settings::set_max_listpack_entries, 0, kInt64Max}},
    {.name = "set-max-listpack-value",
     .value = Integer{&Settings::set_max_listpack_value, 0, kInt64Max, Notation::memory}},
    {.name = "zset-max-listpack-entries",
     .alias = "zset-max-ziplist-entries",
     .value = Integer{&Settings::zset_max_listpack_entries, 0, kInt64Max}},
    {.name = "zset-max-listpack-value",
     .alias = "zset-max-ziplist-value",
     .value = Integer{&Settings::zset_max_listpack_value, 0, kInt64Max, Notation::memory}},
    {.name = "hll-sparse-max-bytes",
     .value = Integer{&Settings::hll_sparse_max_bytes, 0, kInt64Max, Notation::memory}},
    {.name = "stream-node-max-bytes",
     .value = Integer{&Settings::stream_node_max_bytes, 0, kInt64Max, Notation::memory}},
    {.name = "stream-node-max-entries",
     .value = Integer{&Settings::stream_node_max_entries, 0, kInt64Max}},
};

}  // namespace

std::span<const Directive> encoding_directives() { return kEncodingRows; }

}  // namespace quoll::server
