// SubprocessTransport: a child process, as its protocol sees it, and how children are started.  Floor 6, process.
#pragma once
#include <sys/types.h>
#include <tulp/event_loop.hpp>
#include <tulp/protocol.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tulp {

// What a standard stream of a child is, beside a descriptor of this process.  Source: asyncio.subprocess.

/// A pipe, whose other end is here.
inline constexpr int PIPE = -1;
/// For stderr: what stdout is.
inline constexpr int STDOUT = -2;
/// Nothing: /dev/null.
inline constexpr int DEVNULL = -3;
/// What this process has there; the default.
inline constexpr int INHERIT = -4;

/// A descriptor that a child gets beside the standard ones.
struct PassedFd {
  PassedFd(int fd_here, std::optional<int> number_there = std::nullopt)
      : fd(fd_here), number(number_there.value_or(fd_here)) {}
  int fd;      ///< Stays open here, and the caller's.
  int number;  ///< What the child knows it by; above 2.
};

/// A terminal of its own for a child.
struct Pty {
  unsigned short rows = 24;
  unsigned short columns = 80;
};

/// How a child is started.  Names and meanings are those of Python's subprocess.Popen where it has them.  A child has no
/// signal blocked and no descriptor that was not asked for, whatever this process has.
struct SubprocessOptions {
  // PIPE, DEVNULL, INHERIT, a descriptor of this process, which stays the caller's, or for stderr STDOUT.  The underscores
  // are because <stdio.h> owns the names without.
  int stdin_ = INHERIT;
  int stdout_ = INHERIT;
  int stderr_ = INHERIT;
  /// The program, if it is another one than the first argument; for a shell command the shell, if not /bin/sh.
  std::string executable = {};
  /// Where the child begins; empty is where this process is.  A program with a relative path is looked for from there.
  std::string cwd = {};
  /// The whole environment.  Default: this process's.
  std::optional<std::map<std::string, std::string>> env = std::nullopt;
  /// What is different in it; nullopt takes a variable out.
  std::map<std::string, std::optional<std::string>> env_changes = {};
  std::vector<PassedFd> pass_fds = {};
  /// Calls setsid(2): the child leads a session and a group of its own, and has no terminal.
  bool start_new_session = false;
  /// Calls setpgid(2): the group that the child joins; 0 is one of its own, that it leads.
  std::optional<pid_t> process_group = std::nullopt;
  // Names or numbers; each alone, as the system calls are: `user` changes no group.
  std::string user = {};
  std::string group = {};
  std::optional<std::vector<std::string>> extra_groups = std::nullopt;
  std::optional<mode_t> umask = std::nullopt;
  /// Signals that this process ignores are at their default in the child too, as those always are that it catches.
  bool restore_signals = true;
  /// Runs the child in a session of its own on a terminal of its own, which those of stdin_, stdout_ and stderr_ are that
  /// say nothing else.  Here it is one pipe in both directions, found under stdin and stdout both.
  std::optional<Pty> pty = std::nullopt;
  /// For a Process: the longest line or record that readline() and readuntil() accept.
  std::size_t limit_bytes = 64 * 1024;
};

/// A child process and the pipes to it.  The loop owns it until connection_lost, which comes when the child has ended and
/// every pipe has.  When the loop closes before that, as at the end of run(), the child is killed.  Should this process
/// itself be killed, its children go on: their input ends, and writing fails.
/// get_extra_info() knows "pid" (int).
/// Source: PEP 3156 "Subprocess Transports"; asyncio.SubprocessTransport.
class SubprocessTransport : public BaseTransport {
 public:
  virtual pid_t get_pid() const noexcept = 0;
  /// What the child exited with; -N if signal N ended it; nothing while it runs.  255, after a report, if somebody else
  /// in this process has taken it (waitpid(2) for any child, or SIGCHLD ignored).
  virtual std::optional<int> get_returncode() const noexcept = 0;
  /// The pipe to descriptor 0, 1 or 2 of the child; null if that is none.
  virtual std::shared_ptr<Transport> get_pipe_transport(int fd) const = 0;

  /// False, and without effect, if the child has ended.  No other process can be hit.  Throws: OsError - it is not ours to
  /// signal (EPERM), or there is no such signal.
  virtual bool send_signal(int signal) = 0;
  /// The same for the child's whole group, also for what is left of that after the child (on Linux before 6.9: not then).
  /// False if nobody was there.
  /// Throws: OsError; InvalidStateError - the child does not lead a group (start_new_session, process_group = 0, pty).
  virtual bool send_signal_to_group(int signal) = 0;
  /// SIGTERM.
  bool terminate();
  /// SIGKILL.
  bool kill();
};

/// What subprocess_exec() gives.
template <class P>
struct Subprocess {
  std::shared_ptr<SubprocessTransport> transport;
  std::shared_ptr<P> protocol;
};

namespace detail {
using SubprocessProtocolFactory = UniqueFunction<std::shared_ptr<SubprocessProtocol>()>;
/// Starts the child, and joins the transport to the protocol that it makes.  Parks: until connection_made has run.
using SubprocessStarter = UniqueFunction<std::shared_ptr<SubprocessTransport>(SubprocessProtocolFactory)>;

SubprocessStarter subprocess_starter(std::vector<std::string> args, const SubprocessOptions& options);
/// What runs `command` by a shell.  Changes options.executable, which is then the shell.
std::vector<std::string> shell_args(std::string command, SubprocessOptions& options);

template <class Factory>
auto start_subprocess(EventLoop& loop, const char* name, const void* caller, Factory factory,
                      SubprocessStarter starter) {
  using P = typename std::invoke_result_t<Factory&>::element_type;
  auto start = [factory = std::move(factory), starter = std::move(starter)]() mutable {
    std::shared_ptr<P> protocol;
    auto transport = starter([&] { return protocol = factory(); });
    return Subprocess<P>{std::move(transport), std::move(protocol)};
  };
  return Future<Subprocess<P>>(start_task(loop, {.name = name}, caller, std::move(start)));
}
}  // namespace detail

/// Starts a program, makes a SubprocessProtocol with `factory()`, which returns a std::shared_ptr, and joins the two.  The
/// Future is done when connection_made has run.  Cancelling it in the iteration in which it was made starts nothing, later
/// it is too late.
///
/// A program without a slash is looked for in the PATH of the child's environment.  What keeps the child from becoming it
/// is the Future's error, and names what failed: OsError, as in "execve nosuch: No such file or directory".  The child is
/// made without a copy of this process's memory, and the loop's thread waits until it has become its program.
/// Throws: std::invalid_argument - there are no arguments, one has a NUL inside, or the options contradict each other.
/// Source: PEP 3156 "Subprocess"; asyncio.loop.subprocess_exec.
template <class Factory>
auto EventLoop::subprocess_exec(Factory factory, std::vector<std::string> args, const SubprocessOptions& options) {
  return detail::start_subprocess(*this, "subprocess_exec", TULP_CALLER, std::move(factory),
                                  detail::subprocess_starter(std::move(args), options));
}

template <class Factory>
auto EventLoop::subprocess_exec(Factory factory, std::vector<std::string> args) {
  return subprocess_exec(std::move(factory), std::move(args), SubprocessOptions{});
}

/// The same with a command for the shell.
template <class Factory>
auto EventLoop::subprocess_shell(Factory factory, std::string command, SubprocessOptions options) {
  auto args = detail::shell_args(std::move(command), options);
  return detail::start_subprocess(*this, "subprocess_shell", TULP_CALLER, std::move(factory),
                                  detail::subprocess_starter(std::move(args), options));
}

template <class Factory>
auto EventLoop::subprocess_shell(Factory factory, std::string command) {
  return subprocess_shell(std::move(factory), std::move(command), SubprocessOptions{});
}

}  // namespace tulp
