// Requests to the admin port from arbitrary bytes, in one piece and byte by byte: both end in the
// same state, within the bounds, and a complete request has a method and a path.
#include <string>

#include "base/check.h"
#include "wire/http_request.h"

namespace quoll::wire {
namespace {

using State = HttpRequestParser::State;

// Feeds pieces until the parser has an end or the bytes have one; returns what it took.
size_t feed(HttpRequestParser& parser, base::Bytes bytes, size_t piece) {
  size_t taken = 0;
  while (taken < bytes.size() && parser.state() == State::more)
    taken += parser.feed(bytes.substr(taken, piece));
  return taken;
}

void run(base::Bytes bytes) {
  HttpRequestParser whole, pieces;
  for (int requests = 0; requests < 8 && !bytes.empty(); ++requests) {
    const size_t taken = feed(whole, bytes, bytes.size());
    const size_t taken_in_pieces = feed(pieces, bytes, 1);
    QUOLL_CHECK(whole.state() == pieces.state());
    QUOLL_CHECK(taken <= HttpRequestParser::kRequestMax);
    if (whole.state() == State::broken) {
      QUOLL_CHECK(whole.status() >= 400 && whole.status() < 500);
      QUOLL_CHECK(whole.feed("GET / HTTP/1.1\r\n\r\n") == 0);
    }
    if (whole.state() != State::complete) return;
    QUOLL_CHECK(taken == taken_in_pieces && taken > 0);
    QUOLL_CHECK(whole.method() == pieces.method() && whole.path() == pieces.path());
    QUOLL_CHECK(whole.keep_alive() == pieces.keep_alive());
    QUOLL_CHECK(whole.path().size() <= HttpRequestParser::kTargetMax);
    bytes.remove_prefix(taken);
    whole.reset();
    pieces.reset();
  }
}

}  // namespace
}  // namespace quoll::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quoll::wire::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
