// The library tulp-blocking.  It stands before libc and hands each call on to libc, unless tulp is in the process and says
// that this thread, now, is to park.  It needs libc alone, and does nothing when it is loaded but look up the real
// functions; a program without tulp pays for a load and a branch at each call.
//
// It may be called before it has been initialised, in signal handlers and in forked children: so it allocates nothing,
// locks nothing, and leaves errno alone.
#include "base/blocking_library.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <type_traits>

namespace tulp::detail {
namespace {

std::atomic<const BlockingHooks*> present_hooks = nullptr;
std::atomic<bool> watches_mutexes = false;

struct Mutexes {
  int (*lock)(pthread_mutex_t*);
  int (*try_lock)(pthread_mutex_t*);
  int (*timed_lock)(pthread_mutex_t*, const timespec*);
  int (*clock_lock)(pthread_mutex_t*, clockid_t, const timespec*);
  int (*unlock)(pthread_mutex_t*);
};
BlockingCallTable real;
Mutexes real_mutexes;

template <class Function>
void find(Function*& function, const char* name) noexcept {
  if (void* const found = ::dlsym(RTLD_NEXT, name)) function = reinterpret_cast<Function*>(found);
}

template <class Result, class... Arguments>
Result refuse(Arguments...) {
  errno = ENOSYS;
  if constexpr (std::is_pointer_v<Result>)
    return nullptr;
  else
    return static_cast<Result>(-1);
}

/// By the constructor, or by a call that comes before it.  Looking up may come back here, through a malloc that is not
/// libc's: until all have been found, calls go to the kernel or are refused, and there is nobody to lock out.
[[gnu::cold]] void resolve() noexcept {
  const int error = errno;
#define TULP_REFUSE(result, name, parameters, arguments) real.name = refuse;
  TULP_BLOCKING_CALLS(TULP_REFUSE)
#undef TULP_REFUSE
  real.read = [](int fd, void* into, size_t size) -> ssize_t { return ::syscall(SYS_read, fd, into, size); };
  real.write = [](int fd, const void* from, size_t size) -> ssize_t { return ::syscall(SYS_write, fd, from, size); };
  real.close = [](int fd) { return static_cast<int>(::syscall(SYS_close, fd)); };
  real_mutexes.lock = real_mutexes.try_lock = real_mutexes.unlock = [](pthread_mutex_t*) { return 0; };
  real_mutexes.timed_lock = [](pthread_mutex_t*, const timespec*) { return 0; };
  real_mutexes.clock_lock = [](pthread_mutex_t*, clockid_t, const timespec*) { return 0; };
#define TULP_FIND(result, name, parameters, arguments) find(real.name, #name);
  TULP_BLOCKING_CALLS(TULP_FIND)
#undef TULP_FIND
  find(real_mutexes.try_lock, "pthread_mutex_trylock");
  find(real_mutexes.timed_lock, "pthread_mutex_timedlock");
  find(real_mutexes.clock_lock, "pthread_mutex_clocklock");
  auto* lock = real_mutexes.lock;
  auto* unlock = real_mutexes.unlock;
  find(lock, "pthread_mutex_lock");
  find(unlock, "pthread_mutex_unlock");
  real_mutexes.lock = lock;
  real_mutexes.unlock = unlock;
  errno = error;
}

[[gnu::constructor]] void begin() noexcept {
  if (real_mutexes.unlock == nullptr) resolve();
}

std::int64_t now_nanoseconds() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

template <class Call>
auto timed(const BlockingHooks& hooks, const char* name, Call call) {
  const std::int64_t begin = now_nanoseconds();
  const auto result = call();
  const int error = errno;
  hooks.on_timed_call(name, now_nanoseconds() - begin);
  errno = error;
  return result;
}

template <class Call, class Park>
auto by_way(const BlockingHooks& hooks, const char* name, Call call, Park park) {
  switch (hooks.way()) {
    case BlockingWay::parks: return park();
    case BlockingWay::timed: return timed(hooks, name, call);
    case BlockingWay::plain: break;
  }
  return call();
}

void note_lock(pthread_mutex_t* mutex) noexcept {
  if (const BlockingHooks* hooks = present_hooks.load(std::memory_order_acquire)) hooks->on_lock(mutex);
}
bool is_watching_mutexes() noexcept { return watches_mutexes.load(std::memory_order_relaxed); }

[[gnu::noreturn]] void fail_check(const char* name) noexcept {
  void (*fail)() = nullptr;
  find(fail, name);
  if (fail != nullptr) fail();
  ::_exit(127);
}

}  // namespace
}  // namespace tulp::detail

using namespace tulp::detail;

#pragma GCC visibility push(default)
extern "C" {

#define TULP_DEFINE(result, name, parameters, arguments)                                                  \
  result name parameters {                                                                                \
    if (real.name == nullptr) [[unlikely]]                                                                \
      resolve();                                                                                          \
    const BlockingHooks* const hooks = present_hooks.load(std::memory_order_acquire);                     \
    if (hooks == nullptr) [[likely]]                                                                      \
      return real.name arguments;                                                                         \
    return by_way(                                                                                        \
        *hooks, #name, [&] { return real.name arguments; }, [&] { return hooks->calls.name arguments; }); \
  }
TULP_WAITING_CALLS(TULP_DEFINE)
#undef TULP_DEFINE

/// Tasks may wait for what is closed, wherever that is done.
int close(int fd) {
  if (real.close == nullptr) [[unlikely]]
    resolve();
  const BlockingHooks* const hooks = present_hooks.load(std::memory_order_acquire);
  return hooks == nullptr ? real.close(fd) : hooks->calls.close(fd);
}

// The same under other names.

pid_t wait(int* status) { return waitpid(-1, status, 0); }
pid_t __wait(int* status) { return waitpid(-1, status, 0); }
pid_t __waitpid(pid_t process, int* status, int options) { return waitpid(process, status, options); }
ssize_t __read(int fd, void* into, size_t size) { return read(fd, into, size); }
ssize_t __write(int fd, const void* from, size_t size) { return write(fd, from, size); }
int __close(int fd) { return close(fd); }
int __connect(int fd, const sockaddr* to, socklen_t to_size) { return connect(fd, to, to_size); }
ssize_t __send(int fd, const void* from, size_t size, int flags) { return send(fd, from, size, flags); }
int __poll(pollfd* fds, nfds_t count, int timeout) { return poll(fds, count, timeout); }
int __select(int end, fd_set* readable, fd_set* writable, fd_set* others, timeval* timeout) {
  return select(end, readable, writable, others, timeout);
}
int __nanosleep(const timespec* delay, timespec* left) { return nanosleep(delay, left); }

ssize_t sendfile64(int to, int from, off64_t* offset, size_t size) { return sendfile(to, from, offset, size); }
int lockf64(int fd, int command, off64_t size) { return lockf(fd, command, size); }

// With _FORTIFY_SOURCE: how much there is room for comes last.

ssize_t __read_chk(int fd, void* into, size_t size, size_t room) {
  return size <= room ? read(fd, into, size) : (fail_check("__chk_fail"), -1);
}
ssize_t __recv_chk(int fd, void* into, size_t size, size_t room, int flags) {
  return size <= room ? recv(fd, into, size, flags) : (fail_check("__chk_fail"), -1);
}
ssize_t __recvfrom_chk(int fd, void* into, size_t size, size_t room, int flags, sockaddr* from, socklen_t* from_size) {
  return size <= room ? recvfrom(fd, into, size, flags, from, from_size) : (fail_check("__chk_fail"), -1);
}
int __poll_chk(pollfd* fds, nfds_t count, int timeout, size_t room) {
  return count <= room / sizeof *fds ? poll(fds, count, timeout) : (fail_check("__chk_fail"), -1);
}
int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t room) {
  return count <= room / sizeof *fds ? ppoll(fds, count, timeout, mask) : (fail_check("__chk_fail"), -1);
}

// Mutexes are only watched.

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  if (real_mutexes.lock == nullptr) [[unlikely]]
    resolve();
  const int error = real_mutexes.lock(mutex);
  if (is_watching_mutexes() && error == 0) [[unlikely]]
    note_lock(mutex);
  return error;
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  if (real_mutexes.try_lock == nullptr) [[unlikely]]
    resolve();
  const int error = real_mutexes.try_lock(mutex);
  if (is_watching_mutexes() && error == 0) [[unlikely]]
    note_lock(mutex);
  return error;
}
int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* time) noexcept {
  if (real_mutexes.timed_lock == nullptr) [[unlikely]]
    resolve();
  const int error = real_mutexes.timed_lock(mutex, time);
  if (is_watching_mutexes() && error == 0) [[unlikely]]
    note_lock(mutex);
  return error;
}
int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* time) noexcept {
  if (real_mutexes.clock_lock == nullptr) [[unlikely]]
    resolve();
  const int error = real_mutexes.clock_lock(mutex, clock, time);
  if (is_watching_mutexes() && error == 0) [[unlikely]]
    note_lock(mutex);
  return error;
}
int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  if (real_mutexes.unlock == nullptr) [[unlikely]]
    resolve();
  const BlockingHooks* const hooks = is_watching_mutexes() ? present_hooks.load(std::memory_order_acquire) : nullptr;
  if (hooks != nullptr) [[unlikely]]
    hooks->on_unlock(mutex);
  return real_mutexes.unlock(mutex);
}

#define TULP_NAME(result, name, parameters, arguments) {#name, reinterpret_cast<void*>(name)},
#define TULP_ALIAS(name) {#name, reinterpret_cast<void*>(name)},
static const BlockingName names[] = {TULP_BLOCKING_CALLS(TULP_NAME) TULP_BLOCKING_ALIASES(TULP_ALIAS){}};
#undef TULP_NAME
#undef TULP_ALIAS

/// By value: `real` says what comes next, not what dlsym() would find from elsewhere.
static void* find_real(const char* name) {
  if (real.close == nullptr) resolve();
#define TULP_FIND(result, call, parameters, arguments) \
  if (std::strcmp(name, #call) == 0) return reinterpret_cast<void*>(real.call);
  TULP_BLOCKING_CALLS(TULP_FIND)
#undef TULP_FIND
  return nullptr;
}

extern const BlockingLibrary tulp_blocking_library;
const BlockingLibrary tulp_blocking_library = {
    .version = blocking_library_version,
    .names = names,
    .find_real = find_real,
    .set_hooks = [](const BlockingHooks* hooks) { present_hooks.store(hooks, std::memory_order_release); },
    .watch_mutexes = [](bool is_on) { watches_mutexes.store(is_on, std::memory_order_relaxed); },
};
}
#pragma GCC visibility pop
