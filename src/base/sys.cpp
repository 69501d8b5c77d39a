#include "base/sys.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tulp {
namespace {

int open_existing(const char* path, int flags) { return ::open(path, flags); }
int fcntl_int(int fd, int command, int argument) { return ::fcntl(fd, command, argument); }

/// epoll_wait with nanoseconds, Linux 5.11; called by number, because glibc 2.31 does not know it yet.
int epoll_pwait2(int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  return static_cast<int>(::syscall(SYS_epoll_pwait2, epoll, events, capacity, timeout, mask, _NSIG / 8));
}

}  // namespace

constinit SystemCalls sys = {
    .read = ::read,
    .write = ::write,
    .readv = ::readv,
    .writev = ::writev,
    .open = open_existing,
    .close = ::close,
    .fcntl = fcntl_int,
    .fstat = ::fstat,
    .socket = ::socket,
    .bind = ::bind,
    .listen = ::listen,
    .accept4 = ::accept4,
    .connect = ::connect,
    .shutdown = ::shutdown,
    .getsockname = ::getsockname,
    .getpeername = ::getpeername,
    .getsockopt = ::getsockopt,
    .setsockopt = ::setsockopt,
    .recv = ::recv,
    .send = ::send,
    .sendmsg = ::sendmsg,
    .getaddrinfo = ::getaddrinfo,
    .freeaddrinfo = ::freeaddrinfo,
    .getnameinfo = ::getnameinfo,
    .pthread_create = ::pthread_create,
    .poll = ::poll,
    .epoll_create1 = ::epoll_create1,
    .epoll_ctl = ::epoll_ctl,
    .epoll_wait = ::epoll_wait,
    .epoll_pwait2 = epoll_pwait2,
    .eventfd = ::eventfd,
    .pipe2 = ::pipe2,
    .mmap = ::mmap,
    .munmap = ::munmap,
    .mprotect = ::mprotect,
    .madvise = ::madvise,
    .sigaction = ::sigaction,
};

}  // namespace tulp
