// The child lives in its parent's memory, and the parent's thread waits for it.  So nothing here allocates, locks, throws
// or calls anything that knows of threads: setuid(2) of libc, for one, changes all threads of a process.  Neither must a
// sanitizer come to hear of what the child closes, nor of a frame that is never left.
#include "process/child_body.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#ifdef __linux__
#include <sys/syscall.h>
#endif

namespace tulp::detail {
namespace {

#ifdef __linux__
namespace kernel {

constexpr long close_range_number = 436;  // on every machine; Linux 5.9

template <class... Arguments>
int call(long number, Arguments... arguments) {
  return static_cast<int>(::syscall(number, arguments...));
}

int move_fd(int from, int to) { return call(SYS_dup3, from, to, 0); }
int fcntl(int fd, int command, int argument) { return call(SYS_fcntl, fd, command, argument); }
int close(int fd) { return call(SYS_close, fd); }
int close_range(unsigned first, unsigned last) { return call(close_range_number, first, last, 0); }
/// Before there was close_range: closes what the kernel lists as open.  False if it lists nothing.
bool close_listed(int first, int last) {
  constexpr std::size_t length_offset = 16, name_offset = 19;  // of linux_dirent64
  const int folder = call(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY, 0);
  if (folder < 0) return false;
  char entries[4096];
  for (int size; (size = call(SYS_getdents64, folder, entries, sizeof entries)) > 0;) {
    for (const char* entry = entries; entry < entries + size;) {
      int fd = 0;
      for (const char* digit = entry + name_offset; *digit >= '0' && *digit <= '9'; ++digit)
        fd = fd * 10 + *digit - '0';
      if (fd >= first && fd <= last && fd != folder) close(fd);
      unsigned short length = 0;
      __builtin_memcpy(&length, entry + length_offset, sizeof length);
      entry += length;
    }
  }
  close(folder);
  return true;
}
int chdir(const char* path) { return call(SYS_chdir, path); }
int set_groups(std::size_t count, const gid_t* groups) { return call(SYS_setgroups, count, groups); }
int set_group(gid_t group) { return call(SYS_setresgid, group, group, group); }
int set_user(uid_t user) { return call(SYS_setresuid, user, user, user); }
int execute(const char* program, char* const* arguments, char* const* environment) {
  return call(SYS_execve, program, arguments, environment);
}
[[noreturn]] void exit(int code) {
  for (;;) call(SYS_exit_group, code);
}
/// As the kernel has it, not libc: every word of it null is the default, and an empty mask.
struct SignalWords {
  unsigned long words[16] = {};
};
constexpr std::size_t mask_bytes = _NSIG / 8;
bool is_ignored(int signal) {
  SignalWords action;
  return call(SYS_rt_sigaction, signal, nullptr, &action, mask_bytes) == 0 &&
         action.words[0] == reinterpret_cast<unsigned long>(SIG_IGN);
}
void set_default(int signal) {
  const SignalWords action;
  call(SYS_rt_sigaction, signal, &action, nullptr, mask_bytes);
}
void unblock_signals() {
  const SignalWords none;
  call(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, mask_bytes);
}

}  // namespace kernel
#else
namespace kernel {

int move_fd(int from, int to) { return ::dup2(from, to); }
int fcntl(int fd, int command, int argument) { return ::fcntl(fd, command, argument); }
int close(int fd) { return ::close(fd); }
int close_range(unsigned, unsigned) { return errno = ENOSYS, -1; }
bool close_listed(int, int) { return false; }
int chdir(const char* path) { return ::chdir(path); }
int set_groups(std::size_t count, const gid_t* groups) { return ::setgroups(static_cast<int>(count), groups); }
int set_group(gid_t group) { return ::setregid(group, group); }
int set_user(uid_t user) { return ::setreuid(user, user); }
int execute(const char* program, char* const* arguments, char* const* environment) {
  return ::execve(program, arguments, environment);
}
[[noreturn]] void exit(int code) { ::_exit(code); }
bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}
void set_default(int signal) { ::signal(signal, SIG_DFL); }
void unblock_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace kernel
#endif

using Step = ChildBody::Step;

/// A handler must not run in the memory of the parent: they go before the signals are unblocked.
void reset_signals(const ChildBody& body) {
  for (int signal = 1; signal < _NSIG; ++signal)
    if (body.resets_ignored_signals || !kernel::is_ignored(signal)) kernel::set_default(signal);
}

/// What is in the way of others' numbers moves above all of them first.
bool move_descriptors(ChildBody& body) {
  const int highest = body.move_count > 0 ? body.moves[body.move_count - 1].to : -1;
  for (std::size_t i = 0; i < body.move_count; ++i) {
    FdMove& move = body.moves[i];
    body.failed_fd = move.from;
    if (move.from == move.to) {
      if (kernel::fcntl(move.to, F_SETFD, 0) < 0) return false;
    } else if (move.from <= highest) {
      move.from = kernel::fcntl(move.from, F_DUPFD_CLOEXEC, highest + 1);
      if (move.from < 0) return false;
    }
  }
  for (std::size_t i = 0; i < body.move_count; ++i) {
    const FdMove& move = body.moves[i];
    if (move.from == move.to) continue;
    body.failed_fd = move.from;
    if (kernel::move_fd(move.from, move.to) < 0) return false;
  }
  return true;
}

void close_between(const ChildBody& body, int first, int last) {
  if (first > last) return;
  if (kernel::close_range(static_cast<unsigned>(first), static_cast<unsigned>(last)) == 0) return;
  if (kernel::close_listed(first, last)) return;
  for (int fd = first; fd <= std::min(last, body.highest_fd); ++fd) kernel::close(fd);
}

/// All but the standard ones, which close by themselves if they are to, and those that were moved.
void close_others(const ChildBody& body) {
  int first = STDERR_FILENO + 1;
  for (std::size_t i = 0; i < body.move_count; ++i) {
    if (body.moves[i].to < first) continue;
    close_between(body, first, body.moves[i].to - 1);
    first = body.moves[i].to + 1;
  }
  close_between(body, first, INT_MAX);
}

/// The error that says most: that the program is nowhere does so least.
int execute_first(const ChildBody& body) {
  int error_number = ENOENT;
  for (const char* const* program = body.programs; *program != nullptr; ++program) {
    kernel::execute(*program, body.arguments, body.environment);
    if (error_number == ENOENT || (error_number == ENOTDIR && errno != ENOENT)) error_number = errno;
  }
  return error_number;
}

}  // namespace

/// What is done as whom, and where, follows Python: descriptors before the directory, and rights last.
__attribute__((no_sanitize("address"), no_sanitize("thread"))) int run_child(void* argument) noexcept {
  ChildBody& body = *static_cast<ChildBody*>(argument);
  const auto fail = [&body](Step step) {
    body.error_number = errno;
    body.failed_step = step;
    kernel::exit(127);
  };
  reset_signals(body);
  if (body.starts_session && ::setsid() < 0) fail(Step::session);
  if (!move_descriptors(body)) fail(Step::descriptor);
  if (body.terminal >= 0 && ::ioctl(body.terminal, TIOCSCTTY, 0) < 0) fail(Step::terminal);
  if (body.directory != nullptr && kernel::chdir(body.directory) < 0) fail(Step::directory);
  if (body.sets_umask) ::umask(body.umask);
  if (body.sets_process_group && ::setpgid(0, body.process_group) < 0) fail(Step::process_group);
  if (body.sets_groups && kernel::set_groups(body.group_count, body.groups) < 0) fail(Step::groups);
  if (body.sets_group && kernel::set_group(body.group) < 0) fail(Step::group);
  if (body.sets_user && kernel::set_user(body.user) < 0) fail(Step::user);
  close_others(body);
  kernel::unblock_signals();
  errno = execute_first(body);
  fail(Step::program);
  __builtin_unreachable();
}

}  // namespace tulp::detail
