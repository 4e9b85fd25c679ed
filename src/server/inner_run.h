// InnerRun: command lines that run here though no client of ours sent them: another node asks for
// its client, or we ask ourselves for a part of a command. They pass everything that a client's
// commands pass, in a session of their own, and their replies wait at the gate like others.
//
//   lines -> Session (nobody's connection) -> Dispatcher -> OutQueue -> gate -> whole replies ->
//   told
//
// A command that would wait for keys does not: what is told then is for how long, what it would
// reply in the end, and the line to run again.
//
// Cost: a session per run, some 700 bytes, gone with the last reply.
#pragma once

#include <functional>
#include <string>

#include "cluster/run_frames.h"

namespace quoll::server {

class Server;

using OnRun = std::function<void(std::string answer)>;  // an encoded cluster::RunAnswer

constexpr size_t kInnerReplyBytesMax = 32 * 1024 * 1024;  // of one run: more is not handed on

// `from`: who asks, for CLIENT LIST. An empty answer: the run ended and nobody knows how far.
void run_lines_for(Server& server, const cluster::RunQuestion& question, const std::string& from,
                   OnRun told);

}  // namespace quoll::server
