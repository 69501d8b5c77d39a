#include "base/sys.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if __has_include(<sys/epoll.h>)
#include <sys/epoll.h>
#include <sys/syscall.h>
#endif
#if __has_include(<sys/event.h>)
#include <sys/event.h>
#endif
#if __has_include(<sys/eventfd.h>)
#include <sys/eventfd.h>
#endif
#ifdef __linux__
#include <sched.h>
#include <sys/sendfile.h>
#endif

#include "base/blocking_library.hpp"

namespace tulp {
namespace {

int open_existing(const char* path, int flags) { return ::open(path, flags); }
int ioctl_int(int fd, unsigned long request, int* argument) { return ::ioctl(fd, request, argument); }
int fcntl_int(int fd, int command, int argument) { return ::fcntl(fd, command, argument); }

#if !__has_include(<sys/eventfd.h>)
int eventfd(unsigned, int) { return errno = ENOSYS, -1; }
#endif

ssize_t sendfile([[maybe_unused]] int to, [[maybe_unused]] int from, [[maybe_unused]] off_t* offset,
                 [[maybe_unused]] size_t size) {
#ifdef __linux__
  return ::sendfile(to, from, offset, size);
#else  // others of that name have other parameters
  return errno = ENOSYS, -1;
#endif
}

ssize_t preadv2([[maybe_unused]] int fd, [[maybe_unused]] const iovec* views, [[maybe_unused]] int count,
                [[maybe_unused]] off_t offset, [[maybe_unused]] int flags) {
#ifdef __linux__
  return ::preadv2(fd, views, count, offset, flags);
#else
  return errno = ENOSYS, -1;
#endif
}

ssize_t pwritev2([[maybe_unused]] int fd, [[maybe_unused]] const iovec* views, [[maybe_unused]] int count,
                 [[maybe_unused]] off_t offset, [[maybe_unused]] int flags) {
#ifdef __linux__
  return ::pwritev2(fd, views, count, offset, flags);
#else
  return errno = ENOSYS, -1;
#endif
}

int gethostbyname2_r([[maybe_unused]] const char* name, [[maybe_unused]] int family, [[maybe_unused]] hostent* into,
                     [[maybe_unused]] char* buffer, [[maybe_unused]] size_t size, [[maybe_unused]] hostent** result,
                     [[maybe_unused]] int* error) {
#ifdef __GLIBC__
  return ::gethostbyname2_r(name, family, into, buffer, size, result, error);
#else
  return ENOSYS;
#endif
}

int gethostbyaddr_r([[maybe_unused]] const void* address, [[maybe_unused]] socklen_t address_size,
                    [[maybe_unused]] int family, [[maybe_unused]] hostent* into, [[maybe_unused]] char* buffer,
                    [[maybe_unused]] size_t size, [[maybe_unused]] hostent** result, [[maybe_unused]] int* error) {
#ifdef __GLIBC__
  return ::gethostbyaddr_r(address, address_size, family, into, buffer, size, result, error);
#else
  return ENOSYS;
#endif
}

#if __has_include(<sys/epoll.h>)
/// epoll_wait with nanoseconds, Linux 5.11; called by number, because glibc 2.31 does not know it yet.
int epoll_pwait2(int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  return static_cast<int>(::syscall(SYS_epoll_pwait2, epoll, events, capacity, timeout, mask, _NSIG / 8));
}
#endif

#if __has_include(<sys/event.h>)
/// The counts are int or size_t, as the system likes.
int kevent_int(int queue, const struct kevent* changes, int change_count, struct kevent* events, int capacity,
               const timespec* timeout) {
  return ::kevent(queue, changes, change_count, events, capacity, timeout);
}
#endif

#ifdef __linux__
/// The child borrows this process's memory until it has another one; its pidfd comes with it, so that there is no moment
/// in which its number might be somebody else's.
pid_t start_child(int (*body)(void*), void* argument, void* stack_end, int* pidfd) {
  constexpr int with_pidfd = 0x1000;  // CLONE_PIDFD, Linux 5.2; an older kernel takes no notice of it
  constexpr int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
  *pidfd = -1;
  const pid_t child = ::clone(body, stack_end, flags | with_pidfd, argument, pidfd);
  return child < 0 && errno == EINVAL ? ::clone(body, stack_end, flags, argument) : child;
}

/// Linux 5.1; by number, because glibc before 2.36 does not know it.
int pidfd_send_signal(int pidfd, int signal, siginfo_t* info, unsigned flags) {
  constexpr long number = 424;  // on every machine
  return static_cast<int>(::syscall(number, pidfd, signal, info, flags));
}

/// Linux 5.3; the same.
int pidfd_open(pid_t process, unsigned flags) {
  constexpr long number = 434;  // on every machine
  return static_cast<int>(::syscall(number, process, flags));
}
#else
pid_t start_child(int (*body)(void*), void* argument, void*, int* pidfd) {
  *pidfd = -1;
  const pid_t child = ::vfork();
  if (child == 0) ::_exit(body(argument));
  return child;
}

int pidfd_send_signal(int, int, siginfo_t*, unsigned) { return errno = ENOSYS, -1; }
int pidfd_open(pid_t, unsigned) { return errno = ENOSYS, -1; }
#endif

}  // namespace

constinit SystemCalls sys = {
    .read = ::read,
    .write = ::write,
    .readv = ::readv,
    .writev = ::writev,
    .pread = ::pread,
    .preadv2 = preadv2,
    .pwritev2 = pwritev2,
    .sendfile = sendfile,
    .open = open_existing,
    .close = ::close,
    .fcntl = fcntl_int,
    .ioctl = ioctl_int,
    .flock = ::flock,
    .lockf = ::lockf,
    .fstat = ::fstat,
    .lstat = ::lstat,
    .unlink = ::unlink,
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
    .recvfrom = ::recvfrom,
    .send = ::send,
    .sendmsg = ::sendmsg,
    .sendto = ::sendto,
    .sendmmsg = ::sendmmsg,
    .recvmsg = ::recvmsg,
    .recvmmsg = ::recvmmsg,
    .getaddrinfo = ::getaddrinfo,
    .freeaddrinfo = ::freeaddrinfo,
    .getnameinfo = ::getnameinfo,
    .gethostbyname2_r = gethostbyname2_r,
    .gethostbyaddr_r = gethostbyaddr_r,
    .pthread_create = ::pthread_create,
    .select = ::select,
    .pselect = ::pselect,
    .poll = ::poll,
    .ppoll = ::ppoll,
    .sleep = ::sleep,
    .clock_nanosleep = ::clock_nanosleep,
    .pipe2 = ::pipe2,
    .eventfd = eventfd,
#if __has_include(<sys/epoll.h>)
    .epoll_create1 = ::epoll_create1,
    .epoll_ctl = ::epoll_ctl,
    .epoll_wait = ::epoll_wait,
    .epoll_pwait = ::epoll_pwait,
    .epoll_pwait2 = epoll_pwait2,
#endif
#if __has_include(<sys/event.h>)
    .kqueue = ::kqueue,
    .kevent = kevent_int,
#endif
    .mmap = ::mmap,
    .munmap = ::munmap,
    .mprotect = ::mprotect,
    .madvise = ::madvise,
    .sigaction = ::sigaction,
    .start_child = start_child,
    .waitid = ::waitid,
    .waitpid = ::waitpid,
    .wait4 = ::wait4,
    .pidfd_open = pidfd_open,
    .kill = ::kill,
    .pidfd_send_signal = pidfd_send_signal,
};

namespace {

/// Where tulp-blocking has libc's names, what has been bound above is its: in a task it would park us.  Before all
/// initialisation, so that nobody has a copy of the table.
[[gnu::constructor(101)]] void pass_by_blocking_library() noexcept {
  const auto* library = static_cast<const detail::BlockingLibrary*>(::dlsym(RTLD_DEFAULT, "tulp_blocking_library"));
  if (library == nullptr) return;
#define TULP_TAKE_REAL(name) \
  if (void* const found = library->find_real(#name)) sys.name = reinterpret_cast<decltype(sys.name)>(found);
  TULP_TAKE_REAL(read)
  TULP_TAKE_REAL(write)
  TULP_TAKE_REAL(readv)
  TULP_TAKE_REAL(writev)
  TULP_TAKE_REAL(close)
  TULP_TAKE_REAL(accept4)
  TULP_TAKE_REAL(connect)
  TULP_TAKE_REAL(recv)
  TULP_TAKE_REAL(recvfrom)
  TULP_TAKE_REAL(recvmsg)
  TULP_TAKE_REAL(send)
  TULP_TAKE_REAL(sendto)
  TULP_TAKE_REAL(sendmsg)
  TULP_TAKE_REAL(getaddrinfo)
  TULP_TAKE_REAL(getnameinfo)
  TULP_TAKE_REAL(select)
  TULP_TAKE_REAL(pselect)
  TULP_TAKE_REAL(poll)
  TULP_TAKE_REAL(ppoll)
  TULP_TAKE_REAL(sleep)
  TULP_TAKE_REAL(clock_nanosleep)
  TULP_TAKE_REAL(recvmmsg)
  TULP_TAKE_REAL(sendmmsg)
  TULP_TAKE_REAL(sendfile)
  TULP_TAKE_REAL(flock)
  TULP_TAKE_REAL(lockf)
  TULP_TAKE_REAL(wait4)
  TULP_TAKE_REAL(waitid)
  TULP_TAKE_REAL(gethostbyname2_r)
  TULP_TAKE_REAL(gethostbyaddr_r)
  TULP_TAKE_REAL(epoll_pwait)
  TULP_TAKE_REAL(epoll_wait)
  TULP_TAKE_REAL(waitpid)
#undef TULP_TAKE_REAL
}

}  // namespace

}  // namespace tulp
