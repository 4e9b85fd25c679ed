#include "store/key_sizes.h"

namespace quoll::store {
namespace {

uint64_t digits_of(int64_t number) {
  uint64_t rest = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  uint64_t digits = number < 0 ? 2 : 1;
  for (; rest >= 10; rest /= 10) ++digits;
  return digits;
}

}  // namespace

uint64_t KeySizes::size_of(const Entry* entry) {
  if (entry->type() != data::Type::string) return entry->collection()->size();
  if (entry->form() == data::Form::integer) return digits_of(entry->integer());
  return entry->text_length();
}

}  // namespace quoll::store
