// BlockingLibrary: what tulp and tulp-blocking, which takes over libc's names, know of each other.  Floor 1, base.
//
// Two libraries meet here that may have been built at different times: any change is a new version, and each works only with
// its own.
#pragma once
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cstdint>
#include <ctime>

/// Those that fewer programs use.
#define TULP_FURTHER_WAITING_CALLS(X)                                                                                 \
  X(int, recvmmsg, (int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout),                         \
    (fd, messages, count, flags, timeout))                                                                            \
  X(int, sendmmsg, (int fd, mmsghdr* messages, unsigned count, int flags), (fd, messages, count, flags))              \
  X(ssize_t, sendfile, (int to, int from, off_t* offset, size_t size), (to, from, offset, size))                      \
  X(int, epoll_pwait, (int epoll, epoll_event* events, int capacity, int timeout, const sigset_t* mask),              \
    (epoll, events, capacity, timeout, mask))                                                                         \
  X(int, epoll_pwait2, (int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask), \
    (epoll, events, capacity, timeout, mask))                                                                         \
  X(pid_t, wait3, (int* status, int options, rusage* usage), (status, options, usage))                                \
  X(pid_t, wait4, (pid_t process, int* status, int options, rusage* usage), (process, status, options, usage))        \
  X(int, waitid, (idtype_t type, id_t id, siginfo_t * end, int options), (type, id, end, options))                    \
  X(int, flock, (int fd, int operation), (fd, operation))                                                             \
  X(int, lockf, (int fd, int command, off_t size), (fd, command, size))                                               \
  X(hostent*, gethostbyname2, (const char* name, int family), (name, family))                                         \
  X(int, gethostbyname_r, (const char* name, hostent* into, char* buffer, size_t size, hostent** found, int* error),  \
    (name, into, buffer, size, found, error))                                                                         \
  X(int, gethostbyname2_r,                                                                                            \
    (const char* name, int family, hostent* into, char* buffer, size_t size, hostent** found, int* error),            \
    (name, family, into, buffer, size, found, error))                                                                 \
  X(hostent*, gethostbyaddr, (const void* address, socklen_t address_size, int family),                               \
    (address, address_size, family))                                                                                  \
  X(int, gethostbyaddr_r,                                                                                             \
    (const void* address, socklen_t address_size, int family, hostent* into, char* buffer, size_t size,               \
     hostent** found, int* error),                                                                                    \
    (address, address_size, family, into, buffer, size, found, error))

/// X(result, name, parameters, arguments).
#define TULP_WAITING_CALLS(X)                                                                                         \
  X(ssize_t, read, (int fd, void* into, size_t size), (fd, into, size))                                               \
  X(ssize_t, write, (int fd, const void* from, size_t size), (fd, from, size))                                        \
  X(ssize_t, readv, (int fd, const iovec* views, int count), (fd, views, count))                                      \
  X(ssize_t, writev, (int fd, const iovec* views, int count), (fd, views, count))                                     \
  X(ssize_t, recv, (int fd, void* into, size_t size, int flags), (fd, into, size, flags))                             \
  X(ssize_t, recvfrom, (int fd, void* into, size_t size, int flags, sockaddr* from, socklen_t* from_size),            \
    (fd, into, size, flags, from, from_size))                                                                         \
  X(ssize_t, recvmsg, (int fd, msghdr* message, int flags), (fd, message, flags))                                     \
  X(ssize_t, send, (int fd, const void* from, size_t size, int flags), (fd, from, size, flags))                       \
  X(ssize_t, sendto, (int fd, const void* from, size_t size, int flags, const sockaddr* to, socklen_t to_size),       \
    (fd, from, size, flags, to, to_size))                                                                             \
  X(ssize_t, sendmsg, (int fd, const msghdr* message, int flags), (fd, message, flags))                               \
  X(int, connect, (int fd, const sockaddr* to, socklen_t to_size), (fd, to, to_size))                                 \
  X(int, accept, (int fd, sockaddr* from, socklen_t* from_size), (fd, from, from_size))                               \
  X(int, accept4, (int fd, sockaddr* from, socklen_t* from_size, int flags), (fd, from, from_size, flags))            \
  X(int, poll, (pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))                                      \
  X(int, ppoll, (pollfd * fds, nfds_t count, const timespec* timeout, const sigset_t* mask),                          \
    (fds, count, timeout, mask))                                                                                      \
  X(int, select, (int end, fd_set* readable, fd_set* writable, fd_set* others, timeval* timeout),                     \
    (end, readable, writable, others, timeout))                                                                       \
  X(int, pselect,                                                                                                     \
    (int end, fd_set* readable, fd_set* writable, fd_set* others, const timespec* timeout, const sigset_t* mask),     \
    (end, readable, writable, others, timeout, mask))                                                                 \
  X(int, epoll_wait, (int epoll, epoll_event* events, int capacity, int timeout), (epoll, events, capacity, timeout)) \
  X(unsigned, sleep, (unsigned seconds), (seconds))                                                                   \
  X(int, usleep, (useconds_t microseconds), (microseconds))                                                           \
  X(int, nanosleep, (const timespec* delay, timespec* left), (delay, left))                                           \
  X(int, clock_nanosleep, (clockid_t clock, int flags, const timespec* delay, timespec* left),                        \
    (clock, flags, delay, left))                                                                                      \
  X(pid_t, waitpid, (pid_t process, int* status, int options), (process, status, options))                            \
  X(int, getaddrinfo, (const char* host, const char* service, const addrinfo* hints, addrinfo** found),               \
    (host, service, hints, found))                                                                                    \
  X(int, getnameinfo,                                                                                                 \
    (const sockaddr* address, socklen_t address_size, char* host, socklen_t host_size, char* service,                 \
     socklen_t service_size, int flags),                                                                              \
    (address, address_size, host, host_size, service, service_size, flags))                                           \
  X(hostent*, gethostbyname, (const char* name), (name))                                                              \
  TULP_FURTHER_WAITING_CALLS(X)
#define TULP_BLOCKING_CALLS(X) TULP_WAITING_CALLS(X) X(int, close, (int fd), (fd))

/// Other names of the same: what headers make of them with _FORTIFY_SOURCE, and what glibc exports besides.
#define TULP_BLOCKING_ALIASES(X) \
  X(__read)                      \
  X(__write)                     \
  X(__connect)                   \
  X(__send)                      \
  X(__close)                     \
  X(__poll)                      \
  X(__select)                    \
  X(__nanosleep)                 \
  X(__waitpid)                   \
  X(__wait) X(wait) X(__read_chk) X(__recv_chk) X(__recvfrom_chk) X(__poll_chk) X(__ppoll_chk) X(sendfile64) X(lockf64)

struct epoll_event;

namespace tulp::detail {

/// A function for each call.
struct BlockingCallTable {
#define TULP_ENTRY(result, name, parameters, arguments) result(*name) parameters;
  TULP_BLOCKING_CALLS(TULP_ENTRY)
#undef TULP_ENTRY
};

/// What becomes of a call on this thread, now.
enum class BlockingWay : int { plain, timed, parks };

/// What tulp gives to tulp-blocking.
struct BlockingHooks {
  BlockingWay (*way)();
  /// Instead of the real ones; close() always.
  BlockingCallTable calls;
  /// After a call that was timed.
  void (*on_timed_call)(const char* name, std::int64_t nanoseconds);
  void (*on_lock)(void* mutex);
  void (*on_unlock)(void* mutex);
};

struct BlockingName {
  const char* name;
  void* address;
};

/// What tulp-blocking gives to tulp: the symbol `tulp_blocking_library`.
struct BlockingLibrary {
  unsigned version;
  const BlockingName* names;  // up to one without a name
  /// libc's, or whoever's comes next.
  void* (*find_real)(const char* name);
  /// Null takes them away.
  void (*set_hooks)(const BlockingHooks* hooks);
  void (*watch_mutexes)(bool is_on);
};

inline constexpr unsigned blocking_library_version = 2;

}  // namespace tulp::detail
