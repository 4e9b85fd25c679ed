// The seams to the world. Everything above sees time, chance, files and peers only through these
// narrow interfaces, so the simulator can run the complete server on a virtual clock, network
// and disk. Production bodies are in uv_*.cc (the only files that include <uv.h>).
//
// Threading: every method is called on the loop thread and every callback arrives on it. What runs
// on the side loop has seams of its own (SideHost). Lifetime: a Host outlives all that was built on
// it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace quoll::host {

using base::Bytes;
using base::Millis;
using base::Nanos;
using Task = std::function<void()>;
using TimerId = uint64_t;  // 0 = none

struct Clock {
  virtual ~Clock() = default;
  virtual Millis wall() = 0;                 // unix time in ms; may jump
  virtual int64_t wall_micros() = 0;         // unix time in microseconds
  virtual Nanos steady() = 0;                // never goes back; unrelated to wall time
  virtual Nanos busy() { return steady(); }  // processor time of the calling thread
};

struct Random {
  virtual ~Random() = default;
  virtual uint64_t draw() = 0;  // 64 independent uniform bits
};

struct Loop {
  virtual ~Loop() = default;
  // Runs the task in a later turn, in order of posting.
  virtual void post(Task task) = 0;

  // Another turn at once, for background work that goes on in small steps. Other threads that wait
  // for this core have it first: one that never sleeps lets them wait for milliseconds.
  virtual void turn_again() { post([] {}); }
  virtual TimerId after(Nanos delay, Task task) = 0;
  virtual void cancel(TimerId id) = 0;  // unknown or fired ids are ignored
  // Registers a task for the loop's lifetime: it runs once at the end of every turn, after all I/O
  // callbacks, timers and posted tasks of that turn and before the loop sleeps, in the order of
  // registration. Flushing replies belongs here: one gathered write per connection and turn.
  virtual void on_turn_end(Task task) = 0;
  // From inside a task that takes long: hears, without sleeping, the listeners and peers that ask
  // for it (ListenOptions::heard_nested, PeerEvents::heard_nested), each at most once. Nothing else
  // runs: no timer, no posted task, no turn end, no completion of the disk.
  virtual void hear_nested() = 0;
  // Start of the current turn (steady ns). The turn's length is steady() - turn_start().
  virtual Nanos turn_start() = 0;
};

enum class OpenMode { read, append, create_new, truncate };
using FileId = uint64_t;
using Offset = uint64_t;
using OnDone = std::function<void(base::Result<>)>;
using OnFile = std::function<void(base::Result<FileId>)>;
using OnBytes = std::function<void(base::Result<std::string>)>;
using OnNames = std::function<void(base::Result<std::vector<std::string>>)>;

// Completions arrive on the loop, in order per file. Nothing here blocks the loop.
struct Disk {
  virtual ~Disk() = default;
  virtual void open(const std::string& path, OpenMode mode, OnFile done) = 0;
  virtual void close(FileId file) = 0;
  virtual void read(FileId file, Offset offset, size_t size, OnBytes done) = 0;  // short at EOF
  virtual void append(FileId file, std::string bytes, OnDone done) = 0;          // all or an error
  virtual void sync(FileId file, OnDone done) = 0;
  // Whether appends and syncs that wait for earlier ones of the file go on in one step, without the
  // loop between. Appends on their way behind one that fails fail with it.
  virtual bool gathers(FileId) const { return false; }
  virtual void truncate(FileId file, Offset size, OnDone done) = 0;
  virtual void size(FileId file, std::function<void(base::Result<Offset>)> done) = 0;
  virtual void rename(const std::string& from, const std::string& to, OnDone done) = 0;
  virtual void remove(const std::string& path, OnDone done) = 0;
  virtual void make_dir(const std::string& path, OnDone done) = 0;  // existing is fine
  virtual void sync_dir(const std::string& path, OnDone done) = 0;
  virtual void list(const std::string& path, OnNames done) = 0;  // sorted names
};

struct Endpoint {
  enum class Family { ipv4, ipv6, unix_path } family = Family::ipv4;
  std::string address;  // "127.0.0.1", "::1" or an absolute path
  uint16_t port = 0;
};

// What a connection tells its owner. Calls arrive on the loop thread; the owner may call
// Peer::close() from inside any of them (no call follows a close).
struct PeerEvents {
  virtual ~PeerEvents() = default;
  // Where the next bytes go. Never empty. Lets a large argument arrive in its final buffer.
  virtual std::span<char> receive_buffer() = 0;
  virtual void received(size_t bytes) = 0;
  // The transport can take bytes again after send() took less than it was given.
  virtual void writable() = 0;
  // The other side has sent its last byte but may still read. True: the owner has more to send; it
  // has paused reads and will close. False: the connection closes now and closed("") follows.
  virtual bool ended() { return false; }
  // Whether Loop::hear_nested() may call.
  virtual bool heard_nested() const { return false; }
  // The other side is gone, or `reason` says which error ended the connection ("" = orderly).
  virtual void closed(const std::string& reason) = 0;
};

struct Peer {
  virtual ~Peer() = default;  // destroying closes
  virtual void start(PeerEvents& events) = 0;
  // Hands over as much as the transport takes now; returns the bytes taken. When that is less than
  // all, PeerEvents::writable() follows once there is room.
  virtual size_t send(std::span<const Bytes> parts) = 0;
  // A paused peer still reports closed(): at once when the other side is gone and nothing is
  // unread; when bytes are unread, after they were received or when the connection is reset.
  virtual void pause_reads(bool paused) = 0;
  virtual void close() = 0;                        // no event follows
  virtual std::string remote_address() const = 0;  // "127.0.0.1:5000", "[::1]:5000", "/path:0"
  virtual std::string local_address() const = 0;
  virtual bool is_unix() const = 0;
  virtual bool is_loopback() const = 0;  // remote address is 127.0.0.0/8, ::1 or a unix socket
  virtual int descriptor() const = 0;    // -1 where there is none (simulation)
  virtual void set_keepalive(int seconds) = 0;  // 0 turns it off
};

using OnPeer = std::function<void(std::unique_ptr<Peer>)>;
using OnDial = std::function<void(base::Result<std::unique_ptr<Peer>>)>;

struct ListenOptions {
  int backlog = 511;
  unsigned unix_mode = 0;     // permission bits of the socket file; 0 leaves the umask's
  std::string unix_group;     // group owning the socket file; empty leaves the process's
  bool heard_nested = false;  // see Loop::hear_nested()
};

struct Listener {
  virtual ~Listener() = default;          // destroying stops listening and removes a unix path
  virtual Endpoint endpoint() const = 0;  // with the port actually bound
  virtual void pause(bool paused) = 0;
};

struct Sending {
  Peer* peer;
  std::span<const Bytes> parts;
  size_t taken = 0;  // as Peer::send() returns it
};

struct Transport {
  virtual ~Transport() = default;
  // Fails at once with the system's words ("bind: Address already in use").
  virtual base::Result<std::unique_ptr<Listener>> listen(const Endpoint& at,
                                                         const ListenOptions& options,
                                                         OnPeer on_peer) = 0;
  virtual void dial(const Endpoint& to, OnDial done) = 0;
  // Peer::send() for all, different ones; with fewer system calls where there is a way.
  virtual void send_all(std::span<Sending> sendings) {
    for (Sending& one : sendings) one.taken = one.peer->send(one.parts);
  }
};

using OnDatagram = std::function<void(const Endpoint& from, Bytes bytes)>;
struct Datagrams {
  virtual ~Datagrams() = default;
  virtual base::Result<> bind(const Endpoint& at, OnDatagram on_datagram) = 0;
  virtual void send(const Endpoint& to, Bytes bytes) = 0;  // may be lost
};

// What work on the side loop sees of the world; on that loop only.
struct SideHost {
  Clock& clock;
  Loop& loop;
  Datagrams& datagrams;
};

// Work for the side loop, which calls all of this; the constructor and the destructor run on the
// main loop.
struct SideWork {
  virtual ~SideWork() = default;
  virtual base::Result<> begin(SideHost& host) = 0;
  virtual void rung() = 0;  // SideLoop::ring() was called, once or more often
  virtual void end() = 0;   // the last call
};

// A second loop that turns while the main one is busy: what tells others that we live must not wait
// for a script. It takes one piece of work at a time. The two loops share nothing but what is made
// for it (base/mailbox.h) and wake each other by ringing.
struct SideLoop {
  virtual ~SideLoop() = default;
  // Waits until the work has begun. An error is that of begin(): nothing runs then. `rung` runs on
  // the main loop after ring_main().
  virtual base::Result<> start(SideWork& work, Task rung) = 0;
  // Waits until the work has ended; its sockets are closed, and nothing rings any more. May be
  // called when nothing runs.
  virtual void stop() = 0;
  virtual void ring() = 0;       // on the main loop
  virtual void ring_main() = 0;  // on the side loop
};

// The process as monitoring sees it, what only the system can give it, and what tests do to it.
struct Process {
  virtual ~Process() = default;
  struct CpuTimes {
    int64_t user_micros;
    int64_t system_micros;
  };
  virtual int pid() = 0;
  virtual CpuTimes cpu_times() = 0;         // of all threads
  virtual CpuTimes thread_cpu_times() = 0;  // of the calling thread
  virtual size_t resident_bytes() = 0;
  virtual size_t machine_memory_bytes() = 0;
  virtual size_t container_memory_bytes() = 0;  // its limit; 0: none
  virtual std::string system_name() = 0;        // "Linux 6.1.0 x86_64"
  virtual std::string executable() = 0;         // absolute path
  virtual std::string boot_id() = 0;            // another one whenever the machine has started anew
  virtual uint64_t draw_secret() = 0;           // 64 bits that nobody can predict: passwords
  // How gladly the system ends this process when memory is short: the present value, and a new one.
  virtual base::Result<int> oom_score() = 0;
  virtual base::Result<> set_oom_score(int score) = 0;
  virtual void sleep(Nanos time) = 0;     // blocks the loop (DEBUG SLEEP)
  [[noreturn]] virtual void crash() = 0;  // by an invalid memory access (DEBUG SEGFAULT)
};

struct Host {
  Clock& clock;
  Random& random;
  Loop& loop;
  Disk& disk;
  Transport& transport;
  Datagrams& datagrams;
  Process& process;
  SideLoop& side;
};

}  // namespace quoll::host
