// POSIX's calls that block, as await points: for programs that are ported.  Floor 8, posix.
//
// Each has the signature, the return values and the errno of the call whose name it has.  In a task it parks where the
// other would block; elsewhere - on a plain thread, in a callback of the loop, in a forked child - it is the other.
//
// What a descriptor's owner has asked for holds: with O_NONBLOCK or MSG_DONTWAIT the call returns EAGAIN, with SO_RCVTIMEO
// or SO_SNDTIMEO it waits no longer than that, and without any of them a write returns when all has been written.  tulp
// changes nothing about a descriptor; accept, connect and sendfile set O_NONBLOCK for the moment of the call, and no longer.
//
// Parks: until the call can be made, or has failed.
// Cancel: throws CancelledError, as every park does; what has been read or written by then is returned instead, and the
// cancellation comes at the next park.  An interrupted connect goes on in the kernel, as after a signal.
// Throws: InvalidStateError - inside a no_park_scope.  Nothing else is thrown.
// Source: POSIX.1-2017, and Linux where it says more.  docs/decisions/0015-blocking-calls.md says what differs.
#pragma once
#include <tulp/detail/task_control.hpp>
#include <tulp/duration.hpp>

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <ctime>
#include <iosfwd>

struct epoll_event;
struct rusage;

namespace tulp::posix {

// Bytes.  A regular file is read at once if the system has it in memory, else by a thread; it is written at once.  A
// terminal is written by a thread.

ssize_t read(int fd, void* buffer, size_t size);
ssize_t write(int fd, const void* data, size_t size);
ssize_t readv(int fd, const iovec* views, int count);
ssize_t writev(int fd, const iovec* views, int count);
ssize_t recv(int sock, void* buffer, size_t size, int flags);
ssize_t recvfrom(int sock, void* buffer, size_t size, int flags, sockaddr* address, socklen_t* address_size);
ssize_t recvmsg(int sock, msghdr* message, int flags);
ssize_t send(int sock, const void* data, size_t size, int flags);
ssize_t sendto(int sock, const void* data, size_t size, int flags, const sockaddr* address, socklen_t address_size);
ssize_t sendmsg(int sock, const msghdr* message, int flags);
/// As Linux's, `timeout` is looked at when a message has come, and is then what is left of it.
int recvmmsg(int sock, mmsghdr* messages, unsigned count, int flags, timespec* timeout);
int sendmmsg(int sock, mmsghdr* messages, unsigned count, int flags);
/// Reads from `from` what is not in memory yet while the loop waits.  `to` is non-blocking for the moment of the call.
ssize_t sendfile(int to, int from, off_t* offset, size_t size);

// Locks of files.  Asked for again and again, at first after 1 ms, later after 64; a lock that others wait for in turn for
// each other (EDEADLK of lockf) is not noticed.

int flock(int fd, int operation);
int lockf(int fd, int command, off_t size);

// Connections.

int connect(int sock, const sockaddr* address, socklen_t address_size);
int accept(int sock, sockaddr* address, socklen_t* address_size);
int accept4(int sock, sockaddr* address, socklen_t* address_size, int flags);
/// Tasks of this thread that wait for `fd` in one of these calls get EBADF; those in wait_readable() and wait_writable(), an
/// OsError with ECANCELED.  Those of other threads go on waiting, as threads do.
int close(int fd);

// Waiting.  A signal does not end the wait; with a signal mask it does, within 20 ms.

int poll(pollfd* fds, nfds_t count, int timeout_milliseconds);
int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask);
/// As Linux's: `timeout` is then what is left of it.
int select(int end, fd_set* readable, fd_set* writable, fd_set* exceptional, timeval* timeout);
int pselect(int end, fd_set* readable, fd_set* writable, fd_set* exceptional, const timespec* timeout,
            const sigset_t* mask);
int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout_milliseconds);
int epoll_pwait(int epoll, epoll_event* events, int capacity, int timeout_milliseconds, const sigset_t* mask);
int epoll_pwait2(int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask);
/// Always 0: nothing ends the sleep early.
unsigned sleep(unsigned seconds);
int usleep(useconds_t microseconds);
int nanosleep(const timespec* delay, timespec* left);
int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left);
/// A child that `process` names by its number is heard of at once, any other within 64 ms.
pid_t waitpid(pid_t process, int* status, int options);
pid_t wait3(int* status, int options, rusage* usage);
pid_t wait4(pid_t process, int* status, int options, rusage* usage);
int waitid(idtype_t type, id_t id, siginfo_t* end, int options);

// Names.  Asked for on the threads that EventLoop::getaddrinfo() uses; the answers are the system's own.

int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found);
int getnameinfo(const sockaddr* address, socklen_t address_size, char* host, socklen_t host_size, char* service,
                socklen_t service_size, int flags);
/// The answer stays until this thread's next call of one of these three.
hostent* gethostbyname(const char* name);
hostent* gethostbyname2(const char* name, int family);
hostent* gethostbyaddr(const void* address, socklen_t address_size, int family);
int gethostbyname_r(const char* name, hostent* into, char* buffer, size_t size, hostent** found, int* error);
int gethostbyname2_r(const char* name, int family, hostent* into, char* buffer, size_t size, hostent** found,
                     int* error);
int gethostbyaddr_r(const void* address, socklen_t address_size, int family, hostent* into, char* buffer, size_t size,
                    hostent** found, int* error);

// The library tulp-blocking: the same under libc's names, for libraries that know nothing of tulp.

/// While it lives, blocking calls of libraries do so in the task that it is made in.  Outside a task it does nothing.
class BlockingCallsScope {
 public:
  explicit BlockingCallsScope(BlockingCalls what) noexcept;
  BlockingCallsScope(const BlockingCallsScope&) = delete;
  BlockingCallsScope& operator=(const BlockingCallsScope&) = delete;
  ~BlockingCallsScope();

 private:
  detail::TaskControl* task_;
  BlockingCalls former_ = BlockingCalls::block;
};

/// Whether the calls of libraries are taken over: tulp-blocking is loaded, and each of its names means its own.  Says which
/// do and which do not, and why, a line each.
bool check_blocking_library(std::ostream& stream);

/// From now on a call of a library that has held up an event loop's thread for at least `limit` goes to the log, with its
/// stack; Duration::max() ends that.  At first what TULP_BLOCKING_REPORT says, in milliseconds.  False if tulp-blocking is
/// not loaded.
bool report_blocking_calls(Duration limit);
/// Whether a task that parks while it holds a pthread mutex, such as a std::mutex, goes to the log, with both stacks.  At
/// first whether TULP_MUTEX_REPORT is set.  False if tulp-blocking is not loaded.
bool report_held_mutexes(bool is_on);

}  // namespace tulp::posix
