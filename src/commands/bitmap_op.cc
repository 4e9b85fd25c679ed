// BITOP: a string combined from others.
#include <string>
#include <vector>

#include "base/text.h"
#include "commands/bitmap_core.h"
#include "commands/bitmap_family.h"

namespace quoll::commands::bitmaps {
namespace {

struct NamedOp {
  Bytes name;
  BitOp op;
};

constexpr NamedOp kOps[] = {
    {"AND", BitOp::conjunction},      {"OR", BitOp::disjunction}, {"XOR", BitOp::exclusive},
    {"NOT", BitOp::negation},         {"DIFF", BitOp::diff},      {"DIFF1", BitOp::diff1},
    {"ANDOR", BitOp::conjunction_or}, {"ONE", BitOp::one},
};

// The operation of argument 1, when it has as many sources as it takes; else the error is replied.
bool parse_op(Call& call, BitOp& op) {
  for (const NamedOp& candidate : kOps) {
    if (!base::equals_ignoring_case(call.arg(1), candidate.name)) continue;
    op = candidate.op;
    size_t sources = call.argc() - 3;
    if (op == BitOp::negation && sources != 1) {
      call.reply.error("ERR BITOP NOT must be called with a single source key.");
      return false;
    }
    bool two = op == BitOp::diff || op == BitOp::diff1 || op == BitOp::conjunction_or;
    if (two && sources < 2) {
      call.reply.error("ERR BITOP " + std::string(candidate.name) +
                       " must be called with at least two source keys.");
      return false;
    }
    return true;
  }
  call.syntax_error();
  return false;
}

}  // namespace

void bitop(Call& call) {
  BitOp op;
  if (!parse_op(call, op)) return;
  struct Scratch {
    char text[kTextScratch];
  };
  std::vector<Bytes> sources;
  std::vector<Scratch> scratch(call.argc());
  size_t size = 0;
  for (size_t i = 3; i < call.argc(); ++i) {
    const store::Entry* entry = call.find(i);
    if (refused(call, entry)) return;
    sources.push_back(entry ? entry->text(scratch[i].text) : Bytes());
    size = std::max(size, sources.back().size());
  }
  // The result is complete before the destination, which may be a source, is edited.
  base::Blob result(size);
  result.resize(size);
  combine_bits(op, sources, result.data(), size);
  store::Edit edit = call.edit(2);
  if (size > 0) {
    edit.put(data::Value::of_blob(std::move(result), true), store::Ttl::drop());
    edit.done(kEventSet);
  } else if (edit.found()) {
    edit.erase();
    edit.done(store::kEventDel);
  }
  call.reply.integer(static_cast<int64_t>(size));
}

}  // namespace quoll::commands::bitmaps
