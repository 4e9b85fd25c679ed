// What the tests of the libuv bodies share: a host that runs until a condition holds, and peers
// that record what happened to them.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "host/host.h"
#include "host/uv_host.h"

namespace quoll::host {

constexpr Nanos kPatience = 5'000 * base::kNanosPerMilli;  // a test that waits longer has failed

inline const Endpoint kLoopback{Endpoint::Family::ipv4, "127.0.0.1", 0};

// Bytes that repeat nowhere near.
inline std::string pattern(size_t size) {
  std::string text(size, '\0');
  uint32_t word = 12345;
  for (char& c : text) {
    word = word * 1664525 + 1013904223;
    c = static_cast<char>(word >> 24);
  }
  return text;
}

struct HostFixture {
  UvHost uv;
  Host& host = uv.host();

  // Runs turns until `done` is true at the end of one; false when patience ran out.
  bool run_until(std::function<bool()> done) {
    condition_ = std::move(done);
    if (!hooked_) {
      hooked_ = true;
      host.loop.on_turn_end([this] {
        if (!met_ && condition_ && condition_()) {
          met_ = true;
          uv.stop();
        }
      });
    }
    met_ = false;
    TimerId limit = host.loop.after(kPatience, [this] { uv.stop(); });
    host.loop.post([] {});  // at least one turn, so the condition is looked at
    uv.run();
    host.loop.cancel(limit);
    condition_ = nullptr;
    return met_;
  }
  void run_for(Nanos time) {
    bool over = false;
    host.loop.after(time, [&] { over = true; });
    REQUIRE(run_until([&] { return over; }));
  }

 private:
  std::function<bool()> condition_;
  bool hooked_ = false;
  bool met_ = false;
};

// Collects bytes and the end; what it is told to do on receipt is up to the test.
struct Recorder : PeerEvents {
  std::unique_ptr<Peer> peer;
  std::string bytes;
  size_t buffer_bytes = 4096;
  bool is_closed = false;
  std::string reason;
  int writable_calls = 0;
  std::function<void(Bytes)> on_bytes;
  std::function<void()> on_writable;
  std::function<void()> on_end;
  std::function<bool()> on_ended;

  void take(std::unique_ptr<Peer> given) {
    peer = std::move(given);
    peer->start(*this);
  }
  size_t send(Bytes part) { return peer->send(std::span<const Bytes>(&part, 1)); }

  std::span<char> receive_buffer() override {
    buffer_.resize(buffer_bytes);
    return buffer_;
  }
  void received(size_t count) override {
    bytes.append(buffer_.data(), count);
    if (on_bytes) on_bytes(Bytes(buffer_.data(), count));
  }
  void writable() override {
    ++writable_calls;
    if (on_writable) on_writable();
  }
  bool ended() override { return on_ended && on_ended(); }
  void closed(const std::string& why) override {
    is_closed = true;
    reason = why;
    if (on_end) on_end();
  }

 private:
  std::string buffer_;
};

struct ScratchDir {
  std::string path;
  ScratchDir() {
    std::string name = (std::filesystem::temp_directory_path() / "quoll-host-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace quoll::host
