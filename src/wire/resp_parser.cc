#include "wire/resp_parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/memory.h"
#include "base/numbers.h"
#include "base/text.h"

namespace quoll::wire {
namespace {

constexpr size_t kWholeArgsMax = 1024;         // more arguments always take the road of a Partial
constexpr uint64_t kPlainLengthMax = 1 << 30;  // lengths that read_length() accepts
constexpr size_t kSharedRoomMin = 64;          // free bytes the scratch needs behind parked ones
constexpr size_t kReceiveRoom = 16 * 1024;     // free bytes of a new own buffer
constexpr size_t kReceiveRoomMin = 4 * 1024;   // fewer free bytes make it grow
constexpr size_t kBlobReceiveMax = 1
                                   << 20;  // bytes one read may put into a blob: keeps turns short
constexpr size_t kBatchArgsKept = 4096;    // arguments a batch keeps room for: 64 KiB
constexpr size_t kBatchCommandsKept = 1024;
constexpr size_t kPartialArgsReserved = 64;

// Reads the digits at `p` up to the CR that ends the header and moves `p` behind CR and LF; the
// byte behind CR is not looked at, as in Redis, and may lie behind the window. False for anything
// but a plain canonical number: the careful road then decides what it is. Never reads past the NUL
// that ends the window.
inline bool read_length(const char*& p, uint64_t& value) {
  uint64_t sum = static_cast<unsigned char>(*p) - uint64_t{'0'};
  if (sum > 9) return false;
  if (p[1] != '\r') {
    if (sum == 0) return false;
    do {
      uint64_t digit = static_cast<unsigned char>(*++p) - uint64_t{'0'};
      if (digit > 9 || sum > kPlainLengthMax) return false;
      sum = sum * 10 + digit;
    } while (p[1] != '\r');
  }
  p += 3;
  value = sum;
  return true;
}

// Vertical tab and form feed are skipped between words but do not end one, as in Redis.
constexpr bool ends_word(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

base::Blob* CommandBatch::blob(size_t command, size_t argument) {
  const Item& item = commands_[command];
  if (item.blobs == 0) return nullptr;
  auto first = blobs_.begin() + item.first_blob;
  auto last = first + item.blobs;
  auto found = std::lower_bound(first, last, argument, [](const BlobArg& each, size_t wanted) {
    return each.argument < wanted;
  });
  return found != last && found->argument == argument ? &found->blob : nullptr;
}

void CommandBatch::clear() {
  commands_used_ = 0;
  args_used_ = 0;
  if (args_.size() > kBatchArgsKept) std::vector<base::Bytes>().swap(args_);
  if (commands_.size() > kBatchCommandsKept) std::vector<Item>().swap(commands_);
  if (blobs_.empty()) return;
  std::vector<BlobArg>().swap(blobs_);
  held_ = base::HeldForClient();
}

void CommandBatch::grow_args(size_t n) {
  args_.resize(std::max(args_used_ + n, std::max(4 * kPrefetchBatch, args_.size() * 2)));
}

void CommandBatch::grow_commands() {
  commands_.resize(std::max(kPrefetchBatch, commands_.size() * 2));
}

RespParser::RespParser(const ParserLimits& limits) : limits_(limits) {}

RespParser::~RespParser() { free_own(); }

// ---------------------------------------------------------------------------------- the window

std::span<char> RespParser::receive_buffer(std::span<char> shared) {
  release();
  if (partial_ != nullptr && partial_->blob) {
    std::span<char> span = blob_room();
    if (!span.empty()) {
      lent_ = Lent::blob;
      lent_bytes_ = span.size();
      return span;
    }
  }
  size_t parked = end_ - start_;
  if (parked == 0 ? shared.size() > 1
                  : parked <= kParkedBytesMax && shared.size() > parked + kSharedRoomMin) {
    if (parked > 0) std::memcpy(shared.data(), data_ + start_, parked);
    lent_ = Lent::shared;
    lent_data_ = shared.data();
    lent_bytes_ = shared.size() - parked - 1;
    return shared.subspan(parked, lent_bytes_);
  }
  std::span<char> span = own_room();
  lent_ = Lent::own;
  lent_bytes_ = span.size();
  return span;
}

void RespParser::received(size_t bytes) {
  QUOLL_CHECK(bytes <= lent_bytes_);
  Lent lent = std::exchange(lent_, Lent::none);
  lent_bytes_ = 0;
  if (bytes == 0) return;
  starved_ = false;
  if (lent == Lent::blob) {
    partial_->blob.resize(partial_->blob.size() + bytes);
    return;
  }
  if (lent == Lent::shared) {
    free_own();
    data_ = lent_data_;
    pos_ -= start_;
    end_ -= start_;
    start_ = 0;
  }
  end_ += bytes;
  data_[end_] = '\0';
}

void RespParser::release() {
  if (!inline_args_.empty()) std::vector<std::vector<std::string>>().swap(inline_args_);
  if (data_ == nullptr) return;
  if (start_ == end_) {
    free_own();
    data_ = nullptr;
    start_ = pos_ = end_ = 0;
  } else if (data_ != own_ ||
             (end_ - start_ <= kParkedBytesMax && own_capacity_ > 4 * kParkedBytesMax)) {
    move_to_own(end_ - start_ + 1);
  }
}

// Bytes that may still arrive before client-query-buffer-limit is exceeded, and one more: enough to
// notice that it is.
size_t RespParser::budget() const {
  size_t pending = pending_bytes();
  return pending > limits_.query_buffer_max ? 1 : limits_.query_buffer_max - pending + 1;
}

// What the blob being received lacks. A blob of a large declared size grows only when what it has
// is full: memory follows the bytes that really came.
std::span<char> RespParser::blob_room() {
  base::Blob& blob = partial_->blob;
  size_t wanted = static_cast<size_t>(partial_->bulk_size) + 2;
  if (blob.size() == blob.capacity()) {
    size_t before = blob.footprint();
    blob.reserve(std::min(wanted, blob.capacity() * 2));
    partial_->held.add(blob.footprint() - before);
  }
  size_t room = std::min(wanted, blob.capacity()) - blob.size();
  return {blob.data() + blob.size(), std::min({room, kBlobReceiveMax, budget()})};
}

std::span<char> RespParser::own_room() {
  size_t pending = end_ - start_;
  size_t allowed = budget();
  size_t wanted = std::min(std::max(kReceiveRoom, pending), allowed);
  if (own_ == nullptr || own_capacity_ - 1 - end_ < std::min(kReceiveRoomMin, allowed)) {
    if (own_ != nullptr && start_ >= pending && own_capacity_ - 1 - pending >= wanted) {
      std::memmove(own_, own_ + start_, pending);
      pos_ -= start_;
      start_ = 0;
      end_ = pending;
    } else {
      move_to_own(pending + wanted + 1);
    }
  }
  return {own_ + end_, std::min(own_capacity_ - 1 - end_, allowed)};
}

// Moves the pending bytes to the start of a new own buffer.
void RespParser::move_to_own(size_t capacity) {
  size_t pending = end_ - start_;
  capacity = base::usable_size(capacity);
  char* block = static_cast<char*>(base::allocate(capacity));
  if (pending > 0) std::memcpy(block, data_ + start_, pending);
  block[pending] = '\0';
  free_own();
  own_ = data_ = block;
  own_capacity_ = capacity;
  base::ClientMemory::add(capacity);
  pos_ -= start_;
  start_ = 0;
  end_ = pending;
}

void RespParser::free_own() {
  if (own_ == nullptr) return;
  base::release(own_, own_capacity_);
  base::ClientMemory::subtract(own_capacity_);
  own_ = nullptr;
  own_capacity_ = 0;
}

size_t RespParser::own_bytes() const {
  size_t sum = own_capacity_;
  if (partial_ != nullptr) {
    sum += sizeof(Partial) + partial_->args.capacity() * sizeof(Partial::Span);
    sum += partial_->blob.capacity();
    for (const auto& each : partial_->blobs) sum += sizeof(each) + each.blob.capacity();
  }
  return sum;
}

size_t RespParser::pending_bytes() const {
  size_t sum = end_ - start_;
  if (partial_ != nullptr) sum += partial_->blob_bytes + partial_->blob.size();
  return sum;
}

// ------------------------------------------------------------------------------------- parsing

RespParser::Status RespParser::parse(CommandBatch& batch, size_t max) {
  if (!error_.empty()) return Status::error;
  if (__builtin_expect(pending_bytes() > limits_.query_buffer_max, 0)) {
    return Status::query_buffer_full;
  }
  if (!authenticated_) max = std::min(max, batch.size() + 1);
  while (batch.size() < max) {
    Step step;
    if (partial_ != nullptr) {
      size_t blobs = batch.blobs_.size();
      step = resume(batch);
      if (batch.blobs_.size() > blobs) return Status::ok;
    } else if (pos_ == end_) {
      step = Step::starved;
    } else if (data_[pos_] == '*') {
      size_t before = pos_;
      parse_whole(batch, max);
      step = pos_ != before ? Step::done : parse_count();
    } else {
      step = parse_inline(batch);
    }
    if (step == Step::done) continue;
    if (step == Step::failed) return Status::error;
    starved_ = true;
    break;
  }
  return Status::ok;
}

// The fast road: commands that lie whole in the window and have plain lengths, up to the first that
// is not so. If that one's count can be read, it becomes a Partial.
void RespParser::parse_whole(CommandBatch& batch, size_t max) {
  const char* const end = data_ + end_;
  const char* p = data_ + pos_;
  // What fits into the window is then within bulk_max and needs no check of its own.
  if (limits_.bulk_max < end - p) return;
  uint64_t count_max = kWholeArgsMax;
  if (!authenticated_) {
    if (kUnauthenticatedBulkMax < end - p) return;
    count_max = kUnauthenticatedArgsMax;
  }
  while (*p == '*' && batch.size() < max) {
    const char* at = p + 1;
    uint64_t count;
    if (!read_length(at, count) || at >= end || count - 1 >= count_max) break;
    base::Bytes* args = batch.room(count);
    base::Bytes* arg = args;
    base::Bytes* const last = args + count;
    do {
      const char* body = at + 1;
      uint64_t size;
      if (*at != '$' || !read_length(body, size) || end - body < static_cast<ptrdiff_t>(size + 2)) {
        start_ = static_cast<size_t>(p - data_);
        spill(args, static_cast<size_t>(arg - args), count, static_cast<size_t>(at - data_));
        return;
      }
      *arg++ = {body, size};
      at = body + size + 2;
    } while (arg != last);
    batch.keep(count, static_cast<size_t>(at - p));
    p = at;
  }
  size_t done = static_cast<size_t>(p - data_);
  if (done == pos_) return;
  start_ = pos_ = done;
  scanned_ = 0;
}

// Turns the first `count` of `total` arguments into a Partial that continues at `pos`.
void RespParser::spill(const base::Bytes* args, size_t count, size_t total, size_t pos) {
  partial_ = std::make_unique<Partial>();
  partial_->args_left = static_cast<int64_t>(total - count);
  partial_->args.reserve(std::min(total, kPartialArgsReserved));
  const char* start = data_ + start_;
  for (size_t i = 0; i < count; ++i) {
    partial_->args.push_back({static_cast<size_t>(args[i].data() - start), args[i].size()});
  }
  pos_ = pos;
  scanned_ = 0;
}

// The line at pos_ up to its terminator. Like Redis, a NUL hides everything behind it, and a line
// that is not complete within kInlineBytesMax is an error.
RespParser::Step RespParser::find_line(char terminator, const char* too_long, size_t& length) {
  const char* line = data_ + pos_;
  size_t available = end_ - pos_;
  length = static_cast<size_t>(strchrnul(line + scanned_, terminator) - line);
  bool found = length < available && line[length] == terminator;
  if (length > kInlineBytesMax || (!found && available > kInlineBytesMax)) return fail(too_long);
  scanned_ = length;
  if (!found) return Step::starved;
  return Step::done;
}

// "*<count>\r\n" at pos_.
RespParser::Step RespParser::parse_count() {
  size_t length;
  Step step = find_line('\r', "too big mbulk count string", length);
  if (step != Step::done) return step;
  if (length + 2 > end_ - pos_) return Step::starved;
  int64_t count;
  if (!base::parse_int({data_ + pos_ + 1, length - 1}, count) || count > kArgsMax) {
    return fail("invalid multibulk length");
  }
  if (!authenticated_ && count > kUnauthenticatedArgsMax) {
    return fail("unauthenticated multibulk length");
  }
  size_t next = pos_ + length + 2;
  if (count <= 0) {
    scanned_ = 0;
    start_ = pos_ = next;
  } else {
    spill(nullptr, 0, static_cast<size_t>(count), next);
  }
  return Step::done;
}

// "$<size>\r\n" at pos_.
RespParser::Step RespParser::parse_bulk_size() {
  size_t length;
  Step step = find_line('\r', "too big bulk count string", length);
  if (step != Step::done) return step;
  if (length + 2 > end_ - pos_) return Step::starved;
  char type = data_[pos_];
  if (type != '$') {
    bool ends_line = type == '\r' || type == '\n';
    return fail(std::string("expected '$', got '") + (ends_line ? ' ' : type) + "'");
  }
  int64_t size;
  if (!base::parse_int({data_ + pos_ + 1, length - 1}, size) || size < 0 ||
      size > limits_.bulk_max) {
    return fail("invalid bulk length");
  }
  if (!authenticated_ && size > kUnauthenticatedBulkMax) {
    return fail("unauthenticated bulk length");
  }
  pos_ += length + 2;
  scanned_ = 0;
  partial_->bulk_size = size;
  return Step::done;
}

// Continues the Partial as far as the bytes go.
RespParser::Step RespParser::resume(CommandBatch& batch) {
  Partial& partial = *partial_;
  while (partial.args_left > 0) {
    if (partial.bulk_size < 0) {
      if (pos_ == end_) return Step::starved;
      Step step = parse_bulk_size();
      if (step != Step::done) return step;
    }
    size_t size = static_cast<size_t>(partial.bulk_size);
    if (!partial.blob && end_ - pos_ >= size + 2) {
      partial.args.push_back({pos_ - start_, size});
      pos_ += size + 2;
    } else {
      if (size < kBlobThreshold) return Step::starved;
      if (!fill_blob()) return Step::starved;
      partial.args.push_back({kInBlob, size});
    }
    partial.bulk_size = -1;
    --partial.args_left;
  }
  finish(batch);
  return Step::done;
}

// Receives the current argument in a blob; true once all its bytes have come. What the window holds
// of it, which is all the window has left, moves over at once; the rest never enters the window.
bool RespParser::fill_blob() {
  Partial& partial = *partial_;
  size_t size = static_cast<size_t>(partial.bulk_size);
  if (!partial.blob) {
    size_t arrived = end_ - pos_;
    partial.blob = base::Blob(std::max(std::min(size + 2, kBlobWholeMax), arrived));
    partial.held.add(partial.blob.footprint());
    partial.blob.append({data_ + pos_, arrived});
    end_ = pos_;
    data_[end_] = '\0';
  }
  if (partial.blob.size() < size + 2) return false;
  partial.blob.resize(size);
  partial.blob_bytes += size + 2;
  partial.blobs.push_back({static_cast<uint32_t>(partial.args.size()), std::move(partial.blob)});
  return true;
}

// Hands the complete Partial out as a command.
void RespParser::finish(CommandBatch& batch) {
  Partial& partial = *partial_;
  size_t count = partial.args.size();
  base::Bytes* args = batch.room(count);
  auto next_blob = partial.blobs.begin();
  const char* start = data_ + start_;
  for (size_t i = 0; i < count; ++i) {
    const Partial::Span& span = partial.args[i];
    args[i] = span.offset == kInBlob ? (next_blob++)->blob.view()
                                     : base::Bytes(start + span.offset, span.size);
  }
  batch.keep(count, pos_ - start_ + partial.blob_bytes);
  if (!partial.blobs.empty()) {
    batch.commands_[batch.commands_used_ - 1].blobs = static_cast<uint32_t>(partial.blobs.size());
    for (const auto& blob : partial.blobs) batch.held_.add(blob.blob.footprint());
    std::move(partial.blobs.begin(), partial.blobs.end(), std::back_inserter(batch.blobs_));
  }
  partial_.reset();
  start_ = pos_;
}

// An inline command: words up to LF. Words without quotes are views into the window.
RespParser::Step RespParser::parse_inline(CommandBatch& batch) {
  size_t length;
  Step step = find_line('\n', "too big inline request", length);
  if (step != Step::done) return step;
  base::Bytes line(data_ + pos_, length);
  size_t wire_bytes = length + 1;
  scanned_ = 0;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.find_first_of("\"'") != base::Bytes::npos) {
    std::vector<std::string> words;
    if (!base::split_args(line, words)) return fail("unbalanced quotes in request");
    std::vector<std::string>& kept = inline_args_.emplace_back(std::move(words));
    base::Bytes* args = batch.room(kept.size());
    std::copy(kept.begin(), kept.end(), args);
    if (!kept.empty()) batch.keep(kept.size(), wire_bytes);
  } else {
    base::Bytes* args = batch.room(length / 2 + 1);
    size_t count = 0;
    for (size_t at = 0;; ++count) {
      while (at < line.size() && base::is_blank(line[at])) ++at;
      if (at == line.size()) break;
      size_t word = at;
      while (at < line.size() && !ends_word(line[at])) ++at;
      args[count] = line.substr(word, at - word);
    }
    if (count > 0) batch.keep(count, wire_bytes);
  }
  start_ = pos_ += wire_bytes;
  return Step::done;
}

RespParser::Step RespParser::fail(const std::string& what) {
  error_ = "ERR Protocol error: " + what;
  return Step::failed;
}

}  // namespace quoll::wire
