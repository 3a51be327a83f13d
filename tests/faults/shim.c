// Makes file operations fail on purpose, in a program started with LD_PRELOAD=libfault_shim.so and
//   HONE_FAULT="CALL:AFTER:ACTION:PATH"
// CALL is write (write, pwrite, posix_fallocate), fsync, rename or open (for writing); the first AFTER calls on paths that
// contain PATH pass, later ones fail with errno ACTION (ENOSPC, EIO, EROFS), or the process is killed if ACTION is KILL.
// HONE_FREE_BYTES=N: every file system has N bytes free.
// Tests can't use a full or read-only disk instead: they may run as root.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static long num_seen = 0;

static int error_of(const char *action) {
  if (strcmp(action, "ENOSPC") == 0) return ENOSPC;
  if (strcmp(action, "EROFS") == 0) return EROFS;
  return EIO;
}

// 0: go on; otherwise the errno to fail with.
static int fault(const char *call, const char *path) {
  const char *spec = getenv("HONE_FAULT");
  char wanted[16], action[16], where[1024];
  long after = 0;
  if (spec == NULL || path == NULL) return 0;
  if (sscanf(spec, "%15[^:]:%ld:%15[^:]:%1023s", wanted, &after, action, where) != 4) return 0;
  if (strcmp(wanted, call) != 0 || strstr(path, where) == NULL) return 0;
  if (__sync_fetch_and_add(&num_seen, 1) < after) return 0;
  if (strcmp(action, "KILL") == 0) kill(getpid(), SIGKILL);
  return error_of(action);
}

static int fault_fd(const char *call, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return fault(call, path);
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(code)  \
  do {                 \
    const int e = (code); \
    if (e != 0) {      \
      errno = e;       \
      return -1;       \
    }                  \
  } while (0)

ssize_t write(int fd, const void *data, size_t size) {
  FAIL_IF(fault_fd("write", fd));
  return REAL(ssize_t, write, int, const void *, size_t)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  FAIL_IF(fault_fd("write", fd));
  return REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  FAIL_IF(fault_fd("write", fd));
  return REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, data, size, offset);
}

int posix_fallocate(int fd, off_t offset, off_t size) {
  const int e = fault_fd("write", fd);
  if (e != 0) return e;
  return REAL(int, posix_fallocate, int, off_t, off_t)(fd, offset, size);
}

int fsync(int fd) {
  FAIL_IF(fault_fd("fsync", fd));
  return REAL(int, fsync, int)(fd);
}

int rename(const char *from, const char *to) {
  FAIL_IF(fault("rename", to));
  return REAL(int, rename, const char *, const char *)(from, to);
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (flags & (O_WRONLY | O_RDWR | O_CREAT)) FAIL_IF(fault("open", path));
  return REAL(int, open, const char *, int, ...)(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
  FAIL_IF(fault("open", path));
  return REAL(int, mkdir, const char *, mode_t)(path, mode);
}

int statvfs(const char *path, struct statvfs *status) {
  const int code = REAL(int, statvfs, const char *, struct statvfs *)(path, status);
  const char *bytes = getenv("HONE_FREE_BYTES");
  if (code == 0 && bytes != NULL) {
    status->f_frsize = 1;
    status->f_bavail = strtoul(bytes, NULL, 10);
  }
  return code;
}
