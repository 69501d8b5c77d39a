// sys: the table of system calls.  Floor 1, base.
//
// Every system call of the library goes through this table and never through libc's name, for two reasons: a test puts
// its own function in, and so makes the k-th call fail, come back short or be interrupted; and libtulp-blocking, which
// takes over libc's names, must not catch the library itself: where that is loaded, these are the real ones.  Each entry
// behaves as its man page says: -1 and errno.
#pragma once
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <cerrno>
#include <ctime>

struct epoll_event;
struct kevent;
struct rusage;
struct stat;

namespace tulp {

struct SystemCalls {
  ssize_t (*read)(int, void*, size_t);
  ssize_t (*write)(int, const void*, size_t);
  ssize_t (*readv)(int, const iovec*, int);
  ssize_t (*writev)(int, const iovec*, int);
  ssize_t (*pread)(int, void*, size_t, off_t);
  ssize_t (*preadv2)(int, const iovec*, int, off_t, int);   // Linux's; ENOSYS where the system has none
  ssize_t (*pwritev2)(int, const iovec*, int, off_t, int);  // the same
  ssize_t (*sendfile)(int, int, off_t*, size_t);            // Linux's; ENOSYS where the system has none
  int (*open)(const char*, int);
  int (*close)(int);
  int (*fcntl)(int, int, int);
  int (*ioctl)(int, unsigned long, int*);
  int (*flock)(int, int);
  int (*lockf)(int, int, off_t);
  int (*fstat)(int, struct stat*);
  int (*lstat)(const char*, struct stat*);
  int (*unlink)(const char*);

  int (*socket)(int, int, int);
  int (*bind)(int, const sockaddr*, socklen_t);
  int (*listen)(int, int);
  int (*accept4)(int, sockaddr*, socklen_t*, int);
  int (*connect)(int, const sockaddr*, socklen_t);
  int (*shutdown)(int, int);
  int (*getsockname)(int, sockaddr*, socklen_t*);
  int (*getpeername)(int, sockaddr*, socklen_t*);
  int (*getsockopt)(int, int, int, void*, socklen_t*);
  int (*setsockopt)(int, int, int, const void*, socklen_t);
  ssize_t (*recv)(int, void*, size_t, int);
  ssize_t (*recvfrom)(int, void*, size_t, int, sockaddr*, socklen_t*);
  ssize_t (*send)(int, const void*, size_t, int);
  ssize_t (*sendmsg)(int, const msghdr*, int);
  ssize_t (*sendto)(int, const void*, size_t, int, const sockaddr*, socklen_t);
  int (*sendmmsg)(int, mmsghdr*, unsigned, int);
  ssize_t (*recvmsg)(int, msghdr*, int);
  int (*recvmmsg)(int, mmsghdr*, unsigned, int, timespec*);

  int (*getaddrinfo)(const char*, const char*, const addrinfo*, addrinfo**);
  void (*freeaddrinfo)(addrinfo*);
  int (*getnameinfo)(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int);
  /// As glibc's; ENOSYS where the system has none.
  int (*gethostbyname2_r)(const char*, int, hostent*, char*, size_t, hostent**, int*);
  int (*gethostbyaddr_r)(const void*, socklen_t, int, hostent*, char*, size_t, hostent**, int*);  // the same
  int (*pthread_create)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

  int (*select)(int, fd_set*, fd_set*, fd_set*, timeval*);
  int (*pselect)(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*);
  int (*poll)(pollfd*, nfds_t, int);
  int (*ppoll)(pollfd*, nfds_t, const timespec*, const sigset_t*);
  unsigned (*sleep)(unsigned);
  int (*clock_nanosleep)(clockid_t, int, const timespec*, timespec*);
  int (*pipe2)(int*, int);
  int (*eventfd)(unsigned, int);  // ENOSYS where the system has none

  // Null where the system has none.
  int (*epoll_create1)(int) = nullptr;
  int (*epoll_ctl)(int, int, int, epoll_event*) = nullptr;
  int (*epoll_wait)(int, epoll_event*, int, int) = nullptr;
  int (*epoll_pwait)(int, epoll_event*, int, int, const sigset_t*) = nullptr;
  int (*epoll_pwait2)(int, epoll_event*, int, const timespec*, const sigset_t*) = nullptr;
  int (*kqueue)() = nullptr;
  int (*kevent)(int, const struct kevent*, int, struct kevent*, int, const timespec*) = nullptr;

  void* (*mmap)(void*, size_t, int, int, int, off_t);
  int (*munmap)(void*, size_t);
  int (*mprotect)(void*, size_t, int);
  int (*madvise)(void*, size_t, int);

  int (*sigaction)(int, const struct sigaction*, struct sigaction*);

  /// Runs `body(argument)` in a child process, on the stack that ends at `stack_end`, in this process's memory; it must not
  /// return.  Returns when the child has become another program or has ended.  `*pidfd` is -1 where the system has none.
  pid_t (*start_child)(int (*body)(void*), void* argument, void* stack_end, int* pidfd);
  int (*waitid)(idtype_t, id_t, siginfo_t*, int);
  pid_t (*waitpid)(pid_t, int*, int);
  pid_t (*wait4)(pid_t, int*, int, rusage*);
  int (*pidfd_open)(pid_t, unsigned);  // ENOSYS where the system has none
  int (*kill)(pid_t, int);
  int (*pidfd_send_signal)(int, int, siginfo_t*, unsigned);  // ENOSYS where the system has none
};

/// The table in force.  Changed only by tests, while no loop runs.
extern SystemCalls sys;

/// Whether a non-blocking call failed with `error` because it would have had to wait.
inline bool is_blocked(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

/// Runs `call` again for as long as a signal interrupts it.
template <class Call>
auto retry_on_eintr(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

}  // namespace tulp
