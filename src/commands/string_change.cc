// Commands that change part of a string, and conditional removal.
//
// Results up to kShortText are built on the stack and stored inside the entry; longer ones grow
// the value's own Blob, which doubles its room (1 MiB steps later), so appending is amortised O(1).
#include <cstring>

#include "commands/string_options.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

constexpr size_t kShortText = 255;  // the longest value that an entry can hold inside

// Makes the string of the edit (absent: empty) at least `size` bytes long, filled up with zeros,
// and writes `patch` at `offset`. The result is marked as modified in place.
void patch_text(store::Edit& edit, size_t old_size, size_t offset, Bytes patch) {
  size_t size = std::max(old_size, offset + patch.size());
  base::Blob blob;
  char near[kShortText];
  char* bytes = near;
  if (size > kShortText) {
    blob = edit.found() ? edit.take_text(size - old_size) : base::Blob(size);
    blob.resize(size);
    bytes = blob.data();
  } else if (edit.found()) {
    char scratch[kTextScratch];
    Bytes old = edit.entry()->text(scratch);
    std::memcpy(near, old.data(), old.size());
  }
  if (offset > old_size) std::memset(bytes + old_size, 0, offset - old_size);
  std::memcpy(bytes + offset, patch.data(), patch.size());
  edit.put(size > kShortText ? data::Value::of_blob(std::move(blob), true)
                             : data::Value::of_bytes({near, size}, true),
           store::Ttl::keep());
}

// DELEX and DELIFEQ behind their arguments.
void remove_if(Call& call, const Condition& condition) {
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.integer(0);
  if (condition.compares() && !is_string(edit.entry())) return call.wrong_type();
  if (!condition.met(edit.entry())) return call.reply.integer(0);
  remove(call, edit);
  call.reply.integer(1);
}

}  // namespace

void append(Call& call) {
  store::Edit edit = call.edit(1);
  size_t size = call.arg(2).size();
  if (edit.found()) {
    if (!is_string(edit.entry())) return call.wrong_type();
    size_t old_size = edit.entry()->text_length();
    if (too_long(call, old_size, size)) return;
    patch_text(edit, old_size, old_size, call.arg(2));
    size += old_size;
  } else {
    edit.put(value_of(call, 2), store::Ttl::drop());
  }
  edit.done(kEventAppend);
  call.reply.integer(static_cast<int64_t>(size));
}

void setrange(Call& call) {
  int64_t offset;
  if (!call.integer(2, offset)) return;
  if (offset < 0) return call.reply.error("ERR offset is out of range");
  auto at = static_cast<size_t>(offset);
  Bytes patch = call.arg(3);
  store::Edit edit = call.edit(1);
  if (edit.found() && !is_string(edit.entry())) return call.wrong_type();
  size_t old_size = edit.found() ? edit.entry()->text_length() : 0;
  if (patch.empty()) return call.reply.integer(static_cast<int64_t>(old_size));
  if (too_long(call, at, patch.size())) return;
  patch_text(edit, old_size, at, patch);
  edit.done(kEventSetRange);
  call.reply.integer(static_cast<int64_t>(std::max(old_size, at + patch.size())));
}

void delex(Call& call) {
  Condition condition;
  if (call.argc() != 2 && call.argc() != 4)
    return call.reply.error("ERR wrong number of arguments for 'delex' command");
  if (call.argc() == 4) {
    size_t i = 2;
    bool taken = condition.take(word(call.arg(2)), call.args, i);
    if (!taken || !condition.compares())
      return call.reply.error("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    if (!condition.resolve(call)) return;
  }
  remove_if(call, condition);
}

void delifeq(Call& call) {
  Condition condition;
  condition.kind = Condition::Kind::ifeq;
  condition.value = call.arg(2);
  remove_if(call, condition);
}

}  // namespace quoll::commands::strings
