"""WeakDisk: the disks of nodes under test, as far as they sync logs of groups: one may stand still, and what it has not synced may
be lost, as when its machine loses power. By a library that is loaded in front of the system's.

    with WeakDisk() as disk, Nodes(3, weak=disk) as nodes:
        with disk.still(nodes[1]): ...
        nodes[1].kill(); disk.lose_power(nodes[1]); nodes[1].start()
"""
import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
import uuid

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of logs of groups: waits while there is a file `still` in the node's folder there, and notes what is synced. */
int fdatasync(int fd) {
  static int (*real)(int);
  char link[64], path[4096], note[4096];
  struct stat at;
  const char *folder = getenv("WEAK_DISK");
  ssize_t size;
  FILE *out;
  int code;
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  size = readlink(link, path, sizeof path - 1);
  path[size > 0 ? size : 0] = 0;
  if (!folder || !strstr(path, "/group-") || !strstr(path, "/log.") || fstat(fd, &at) != 0) return real(fd);
  snprintf(note, sizeof note, "%s/still", folder);
  while (access(note, F_OK) == 0) usleep(1000);
  code = real(fd);
  snprintf(note, sizeof note, "%s/%lu", folder, (unsigned long)at.st_ino);
  if (code == 0 && (out = fopen(note, "w"))) {
    fprintf(out, "%ld", (long)at.st_size);
    fclose(out);
  }
  return code;
}

/* After a loss of power the machine has booted anew. */
int open(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  const char *folder = getenv("WEAK_DISK");
  char other[4096];
  va_list rest;
  mode_t mode;
  va_start(rest, flags);
  mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
  if (folder && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) {
    snprintf(other, sizeof other, "%s/boot_id", folder);
    if (access(other, R_OK) == 0) path = other;
  }
  return real(path, flags, mode);
}
"""


class WeakDisk:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="quoll-weak-disk-")
        self.library = os.path.join(self.dir, "weak_disk.so")
        source = os.path.join(self.dir, "weak_disk.c")
        with open(source, "w") as out:
            out.write(SOURCE)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", self.library, source, "-ldl"], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def folder(self, node):
        path = os.path.join(self.dir, str(node.port))
        os.makedirs(path, exist_ok=True)
        return path

    def environment(self, node):
        return {**os.environ, "LD_PRELOAD": self.library, "WEAK_DISK": self.folder(node)}

    @contextlib.contextmanager
    def still(self, node):
        path = os.path.join(self.folder(node), "still")
        with open(path, "w"):
            pass
        try:
            yield
        finally:
            os.remove(path)

    def lose_power(self, node):
        """It has been killed: what its log has not synced is gone."""
        lost = 0
        for path in glob.glob(node.dir + "/cluster-*/group-*/log.*"):
            try:
                with open(os.path.join(self.folder(node), str(os.stat(path).st_ino))) as note:
                    synced = int(note.read() or 0)
            except FileNotFoundError:
                synced = 0
            lost += os.path.getsize(path) - synced
            os.truncate(path, synced)
        return lost

    def boot(self, node):
        """Its machine begins anew, when it is started again."""
        with open(os.path.join(self.folder(node), "boot_id"), "w") as out:
            out.write(str(uuid.uuid4()))
