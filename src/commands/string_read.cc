// Commands that read strings.
#include "base/hash.h"
#include "base/text.h"
#include "commands/string_family.h"
#include "server/server.h"

namespace quoll::commands::strings {

void get(Call& call) {
  const store::Entry* entry = call.find(1);
  if (__builtin_expect(!entry, 0)) return call.reply.null();
  if (__builtin_expect(!is_string(entry), 0)) return call.wrong_type();
  reply_text(call, entry);
}

// Keys are hashed and their memory is requested some ahead, so that the cache misses overlap.
void mget(Call& call) {
  constexpr size_t kAhead = 16;
  size_t keys = call.argc() - 1;
  call.reply.array(keys);
  for (size_t first = 1; first <= keys; first += kAhead) {
    size_t count = std::min(kAhead, keys + 1 - first);
    store::KeyRef refs[kAhead];
    const base::Bucket* buckets[kAhead];
    for (size_t i = 0; i < count; ++i) {
      refs[i] = call.key(first + i);
      buckets[i] = call.store.bucket_of(call.db, refs[i].hash);
    }
    for (size_t i = 0; i < count; ++i) store::Store::prefetch(buckets[i]);
    for (size_t i = 0; i < count; ++i) store::Store::prefetch_entries(buckets[i], refs[i].hash);
    for (size_t i = 0; i < count; ++i) {
      const store::Entry* entry = call.find_key(refs[i]);
      if (entry && is_string(entry)) {
        reply_text(call, entry);
      } else {
        call.reply.null();
      }
    }
  }
}

void strlen(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.integer(0);
  if (!is_string(entry)) return call.wrong_type();
  call.reply.integer(static_cast<int64_t>(entry->text_length()));
}

void getrange(Call& call) {
  int64_t start, end;
  if (!call.integer(2, start) || !call.integer(3, end)) return;
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.bulk({});
  if (!is_string(entry)) return call.wrong_type();
  char scratch[kTextScratch];
  Bytes text = entry->text(scratch);
  auto size = static_cast<int64_t>(text.size());
  if (start < 0 && end < 0 && start > end) return call.reply.bulk({});
  // Negative positions count from the end; those before the beginning mean the beginning.
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (end < 0) end = std::max<int64_t>(end + size, 0);
  end = std::min(end, size - 1);
  if (start > end) return call.reply.bulk({});
  call.reply.bulk(text.substr(static_cast<size_t>(start), static_cast<size_t>(end - start + 1)));
}

void substr(Call& call) { getrange(call); }

void digest(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.null();
  if (!is_string(entry)) return call.wrong_type();
  char scratch[kTextScratch];
  call.reply.bulk(base::to_hex(base::xxh3(entry->text(scratch))));
}

}  // namespace quoll::commands::strings
