// Incremental parser of client requests: RESP arrays of bulk strings and inline commands, split at
// any byte. Pure: no I/O, no clock. Source of format and error texts: the Redis protocol
// documentation and redis-server 7.0's replies.
//
// Bytes arrive in one of three places, chosen by receive_buffer():
//   - the caller's shared scratch, when nothing or little is pending (an idle connection owns no
//     buffer; up to kParkedBytesMax pending bytes are copied in front);
//   - the parser's own buffer, when a longer request is incomplete;
//   - a Blob, when the pending bulk argument is >= kBlobThreshold: it is received straight into its
//     final place and later moved, not copied, into the keyspace.
// Views in a CommandBatch stay valid until release() or receive_buffer().
//
//   window:  [handed out ....|incomplete command.......|            ] NUL
//            ^data_          ^start_         ^pos_      ^end_         stands at end_
//
// The NUL behind the received bytes ends every header scan, so the hot loop has no bounds checks
// per digit. Commands that lie whole in the window are parsed in one go (parse_whole); any other
// becomes a Partial, which is resumed at pos_ and never scanned again.
//
// Cost: about 100 instructions for a two-argument command, no allocation; 152 bytes per idle
// connection.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/blob.h"
#include "base/bytes.h"
#include "base/client_memory.h"

namespace quoll::wire {

constexpr size_t kBlobThreshold = 32 * 1024;       // bulk length that gets its own Blob
constexpr size_t kInlineBytesMax = 64 * 1024;      // inline request, and every header line
constexpr int64_t kArgsMax = 1024 * 1024;          // arguments of one command
constexpr size_t kPrefetchBatch = 16;              // commands parsed ahead and prefetched together
constexpr size_t kBlobWholeMax = size_t{1} << 20;  // longer blobs grow as their bytes arrive
constexpr size_t kParkedBytesMax = 1024;  // incomplete bytes that return to the shared scratch
constexpr int64_t kUnauthenticatedArgsMax = 10;
constexpr int64_t kUnauthenticatedBulkMax = 16 * 1024;

struct ParserLimits {
  size_t query_buffer_max = size_t{1} << 30;  // client-query-buffer-limit
  int64_t bulk_max = int64_t{512} << 20;      // proto-max-bulk-len
};

// Commands parsed ahead from one connection. Reused; clear() keeps its memory unless it is large.
class CommandBatch {
 public:
  size_t size() const { return commands_used_; }
  base::Args args(size_t command) const {
    const Item& item = commands_[command];
    return {args_.data() + item.first, item.count};
  }
  // The Blob that holds the argument, or nullptr when the bytes are borrowed. The holder may move
  // from it while the command runs.
  base::Blob* blob(size_t command, size_t argument);
  size_t wire_bytes(size_t command) const { return commands_[command].wire_bytes; }
  // Memory of the Blobs, counted as held for the client until clear().
  size_t held_bytes() const { return held_.bytes(); }
  void clear();

 private:
  friend class RespParser;
  struct Item {
    uint32_t first;  // index into args_
    uint32_t count;
    uint32_t first_blob;  // index into blobs_
    uint32_t blobs;
    size_t wire_bytes;
  };
  struct BlobArg {
    uint32_t argument;
    base::Blob blob;
  };
  // Room for `n` more arguments behind the used ones.
  base::Bytes* room(size_t n) {
    if (__builtin_expect(args_.size() - args_used_ < n, 0)) grow_args(n);
    return args_.data() + args_used_;
  }
  // Makes the first `n` arguments of the room a command.
  void keep(size_t n, size_t wire_bytes) {
    if (__builtin_expect(commands_used_ == commands_.size(), 0)) grow_commands();
    commands_[commands_used_++] = {static_cast<uint32_t>(args_used_), static_cast<uint32_t>(n),
                                   static_cast<uint32_t>(blobs_.size()), 0, wire_bytes};
    args_used_ += n;
  }
  void grow_args(size_t n);
  void grow_commands();

  // Their sizes are what may be filled without growing.
  std::vector<Item> commands_;
  std::vector<base::Bytes> args_;
  size_t commands_used_ = 0;
  size_t args_used_ = 0;
  std::vector<BlobArg> blobs_;
  base::HeldForClient held_;
};

class RespParser {
 public:
  enum class Status { ok, error, query_buffer_full };

  // The limits object is shared by all connections (CONFIG SET changes it) and must outlive us.
  explicit RespParser(const ParserLimits& limits);
  ~RespParser();
  RespParser(const RespParser&) = delete;
  RespParser& operator=(const RespParser&) = delete;

  // Never empty. `shared` (two bytes or more) is used when little is pending; nobody else may write
  // to it before received() and release(). Implies release().
  std::span<char> receive_buffer(std::span<char> shared);
  // Bytes written into the span that the last receive_buffer() returned.
  void received(size_t bytes);
  // Appends complete commands to `batch` until it holds `max`, the bytes run out, or a command
  // holds a Blob. Not authenticated: one command per call, because it may be the AUTH that lifts
  // the limits. Empty requests ("\r\n", "*0") produce nothing. After `error` the connection must be
  // closed; error_text() then holds the reply text, e.g. "ERR Protocol error: invalid bulk length".
  // Commands before the error are in the batch and still count. After `query_buffer_full` the
  // connection is closed without a reply; parse(batch, 0) only makes this check.
  Status parse(CommandBatch& batch, size_t max);
  // Every command handed out has run or was copied: pending bytes move into the own buffer (out of
  // the shared scratch), spent bytes are dropped. Once per read turn is enough, after the last
  // batch.
  void release();

  // True when parse() may produce more without further bytes.
  bool has_unparsed() const {
    return !starved_ && error_.empty() && (start_ != end_ || partial_ != nullptr);
  }
  // Redis limits what a connection that has not authenticated may send: 10 arguments of 16 KiB.
  void set_authenticated(bool yes) { authenticated_ = yes; }
  const std::string& error_text() const { return error_; }
  size_t own_bytes() const;      // memory held (buffer and blobs), for CLIENT LIST
  size_t pending_bytes() const;  // received, not yet handed out (qbuf)

 private:
  enum class Step { done, starved, failed };
  enum class Lent : uint8_t { none, shared, own, blob };

  // A command whose bytes have not all arrived. Offsets count from start_, for the window moves.
  struct Partial {
    struct Span {
      size_t offset;  // kInBlob: the argument is the next of `blobs`
      size_t size;
    };
    int64_t args_left = 0;
    int64_t bulk_size = -1;  // of the argument being received; -1: its header is next
    std::vector<Span> args;
    std::vector<CommandBatch::BlobArg> blobs;
    base::Blob blob;           // the argument being received, with its CR LF, when it is large
    size_t blob_bytes = 0;     // wire bytes of `blobs`, which are not in the window
    base::HeldForClient held;  // memory of `blob` and `blobs`
  };
  static constexpr size_t kInBlob = ~size_t{0};

  void parse_whole(CommandBatch& batch, size_t max);
  Step parse_count();
  Step resume(CommandBatch& batch);
  Step parse_bulk_size();
  Step parse_inline(CommandBatch& batch);
  Step find_line(char terminator, const char* too_long, size_t& length);
  Step fail(const std::string& what);
  void spill(const base::Bytes* args, size_t count, size_t total, size_t pos);
  bool fill_blob();
  void finish(CommandBatch& batch);

  size_t budget() const;
  std::span<char> blob_room();
  std::span<char> own_room();
  void move_to_own(size_t capacity);
  void free_own();

  const ParserLimits& limits_;
  char* data_ = nullptr;  // own_ or the shared scratch
  size_t start_ = 0;
  size_t pos_ = 0;
  size_t end_ = 0;
  size_t scanned_ = 0;  // bytes behind pos_ known to hold no line end
  char* own_ = nullptr;
  size_t own_capacity_ = 0;
  char* lent_data_ = nullptr;
  size_t lent_bytes_ = 0;
  std::unique_ptr<Partial> partial_;
  std::vector<std::vector<std::string>> inline_args_;  // unquoted arguments, until release()
  Lent lent_ = Lent::none;
  bool starved_ = true;
  bool authenticated_ = true;
  std::string error_;
};

}  // namespace quoll::wire
