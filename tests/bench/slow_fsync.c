// Preloaded into both servers: an fsync that takes SLOW_FSYNC_US microseconds longer than the disk's.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int after_a_while(const char* name, int fd) {
  const char* text = getenv("SLOW_FSYNC_US");
  const long micros = text ? atol(text) : 0;
  const struct timespec wait = {micros / 1000000, micros % 1000000 * 1000};
  nanosleep(&wait, NULL);
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  return real(fd);
}

int fsync(int fd) { return after_a_while("fsync", fd); }
int fdatasync(int fd) { return after_a_while("fdatasync", fd); }
