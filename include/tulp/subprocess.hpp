// Process: a child process, as sequential code uses it.  Floor 8, streams.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/stream.hpp>
#include <tulp/subprocess_transport.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tulp {

namespace detail {
struct ProcessState;
}  // namespace detail

/// What communicate() gives: empty for what is no PIPE and no terminal.
struct ProcessOutput {
  std::string stdout_;
  std::string stderr_;
  /// False: the child has ended, but somebody who has its output from it, such as a process that it left in the background,
  /// still held it open, and was not waited for any longer.
  bool is_complete = true;
};

struct CommunicateOptions {
  Duration timeout = Duration::max();
  /// How long after the child's end its output may stay open.
  Duration eof_grace = std::chrono::seconds(1);
};

/// A child process.  The loop keeps an eye on it: dropping a Process ends nothing but the pipes that are in it, the child's
/// end is taken note of, and a child that still runs when the loop closes, as at the end of run(), is killed.
///
/// Cancel: of every method that parks: the child goes on.
/// Source: asyncio.subprocess.Process.
class Process {
 public:
  explicit Process(std::unique_ptr<detail::ProcessState> state) noexcept;
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  pid_t pid() const noexcept;
  /// What the child exited with; -N if signal N ended it; nothing while it runs, as far as the loop has heard.
  /// 255, after a report, if somebody else in this process has taken it.
  std::optional<int> returncode() const noexcept;

  // The pipes, with an underscore because <stdio.h> owns the names without.  Each may be moved away.
  // Throws: InvalidStateError - that one is neither a PIPE nor the terminal, or was moved away.

  StreamWriter& stdin_();
  StreamReader& stdout_();
  StreamReader& stderr_();

  /// Parks: until the child has ended; the return code.  Whatever it writes meanwhile, and nobody reads, is kept for the
  /// next read, however much that is: so a full pipe cannot keep the child from its end.  For output without a bound, read
  /// in a task of its own.  A child that reads its input to the end needs it closed before.
  int wait();

  /// Writes `input` to the child's stdin and closes it, reads stdout and stderr to their ends, all at once, and waits for
  /// the child.  That the child does not want all of the input is no error.  A terminal is not closed: the input has to
  /// say there that it is over ("\4" on a line of its own).
  ///
  /// Parks: until all of that is done.
  /// Throws: TimeoutError - it has taken too long; InvalidStateError - there is input but no pipe for it, or another task
  /// reads.  After a TimeoutError or a cancellation the child goes on, and communicate() may be called again, without
  /// input: nothing that was written or read is lost.
  ProcessOutput communicate(std::string_view input = {}, const CommunicateOptions& options = {});
  ProcessOutput communicate(std::string_view input, Duration timeout) {
    return communicate(input, CommunicateOptions{.timeout = timeout});
  }

  // As those of SubprocessTransport.

  bool send_signal(int signal);
  bool send_signal_to_group(int signal);
  bool terminate();
  bool kill();

 private:
  std::unique_ptr<detail::ProcessState> state_;
};

/// Starts a program.  One without a slash is looked for in the PATH of the child's environment.  The child is made without
/// a copy of this process's memory.  Does not park: the thread waits until the child has become its program, which for one
/// in the page cache takes 0.1 ms.
/// Throws: OsError - something kept it from that, as in "execve nosuch: No such file or directory" or "chdir /nosuch: No
/// such file or directory", and nothing is left of it; std::invalid_argument - there are no arguments, one has a NUL
/// inside, or the options contradict each other; InvalidStateError - outside a task.
/// Source: asyncio.create_subprocess_exec.
Process create_subprocess_exec(const std::vector<std::string>& args, const SubprocessOptions& options = {});
/// The same with a command for the shell.
Process create_subprocess_shell(std::string command, SubprocessOptions options = {});

}  // namespace tulp
