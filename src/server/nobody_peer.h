// The other end of a session that nobody is connected to: replay of a log, scripts.
#pragma once

#include "host/host.h"

namespace quoll::server {

struct NobodyPeer : host::Peer {
  void start(host::PeerEvents&) override {}
  size_t send(std::span<const host::Bytes> parts) override {
    size_t size = 0;
    for (host::Bytes part : parts) size += part.size();
    return size;
  }
  void pause_reads(bool) override {}
  void close() override {}
  std::string remote_address() const override { return ""; }
  std::string local_address() const override { return ""; }
  bool is_unix() const override { return false; }
  bool is_loopback() const override { return true; }
  int descriptor() const override { return -1; }
  void set_keepalive(int) override {}
};

}  // namespace quoll::server
