#include "host/supervisor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace quoll::host {
namespace {

Supervisor known = Supervisor::none;

}  // namespace

Supervisor find_supervisor() {
  if (std::getenv("UPSTART_JOB")) return Supervisor::upstart;
  if (std::getenv("NOTIFY_SOCKET")) return Supervisor::systemd;
  return Supervisor::none;
}

void set_supervisor(Supervisor who) { known = who; }
Supervisor supervisor() { return known; }

bool notify_systemd(base::Bytes state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  // An absolute path, or a name in the abstract namespace behind '@'.
  if (!path || (path[0] != '/' && path[0] != '@')) return false;
  const size_t size = std::strlen(path);
  sockaddr_un address{};
  if (size >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = 0;
  const int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (file < 0) return false;
  const ssize_t sent =
      sendto(file, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
  close(file);
  return sent == static_cast<ssize_t>(state.size());
}

void notify_upstart() {
  unsetenv("UPSTART_JOB");
  raise(SIGSTOP);
}

}  // namespace quoll::host
