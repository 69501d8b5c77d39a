#include "process/launch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include <tulp/error.hpp>

#include "process/pty.hpp"
#include "transports/pipe_stream.hpp"

namespace tulp::detail {
namespace {

constexpr const char* stream_names[] = {"stdin_", "stdout_", "stderr_"};

int choice_of(const SubprocessOptions& options, int fd) noexcept {
  return fd == STDIN_FILENO ? options.stdin_ : fd == STDOUT_FILENO ? options.stdout_ : options.stderr_;
}

bool is_on_terminal(const SubprocessOptions& options, int fd) noexcept {
  return options.pty && choice_of(options, fd) == INHERIT;
}

/// Makes the ends of the standard streams; the child's are open until the child has them.
class StandardStreams {
 public:
  StandardStreams(EventLoop& loop, const SubprocessOptions& options, ChildImage& image)
      : loop_(loop), options_(options), image_(image) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) connect(fd);
    for (const PassedFd& passed : options.pass_fds) image_.add_fd(passed.fd, passed.number);
  }
  std::array<std::unique_ptr<ByteStream>, 3> take_pipes() noexcept { return std::move(pipes_); }

 private:
  void connect(int fd) {
    const int choice = choice_of(options_, fd);
    if (is_on_terminal(options_, fd)) return give(fd, terminal());
    switch (choice) {
      case INHERIT: return;
      case PIPE: return give(fd, open_pipe_for(fd));
      case DEVNULL: return give(fd, keep(UniqueFd(sys.open("/dev/null", O_RDWR | O_CLOEXEC)), "/dev/null"));
      case STDOUT: return give(fd, stdout_ >= 0 ? stdout_ : STDOUT_FILENO);
      default: return give(fd, choice);
    }
  }

  void give(int fd, int from) {
    image_.add_fd(from, fd);
    if (fd == STDOUT_FILENO) stdout_ = from;
  }

  int keep(UniqueFd fd, const char* what) {
    if (!fd) throw_os_error(errno, what);
    childs_.push_back(std::move(fd));
    return childs_.back().get();
  }

  int open_pipe_for(int fd) {
    int ends[2];
    if (sys.pipe2(ends, O_CLOEXEC) != 0) throw_os_error(errno, "pipe for a child");
    UniqueFd reading(ends[0]), writing(ends[1]);
    const bool is_input = fd == STDIN_FILENO;
    pipes_[static_cast<std::size_t>(fd)] =
        open_pipe(loop_, std::move(is_input ? writing : reading), is_input ? PipeDirection::write : PipeDirection::read,
                  PipeMaker::tulp);
    return keep(std::move(is_input ? reading : writing), "pipe");
  }

  int terminal() {
    if (terminal_ >= 0) return terminal_;
    PtyEnds ends = open_pty(*options_.pty);
    const std::size_t place = is_on_terminal(options_, STDOUT_FILENO) ? STDOUT_FILENO : STDIN_FILENO;
    pipes_[place] = open_pipe(loop_, std::move(ends.master), PipeDirection::both);
    image_.set_terminal(is_on_terminal(options_, STDIN_FILENO) ? STDIN_FILENO : STDOUT_FILENO);
    return terminal_ = keep(std::move(ends.slave), "terminal");
  }

  EventLoop& loop_;
  const SubprocessOptions& options_;
  ChildImage& image_;
  std::vector<UniqueFd> childs_;
  std::array<std::unique_ptr<ByteStream>, 3> pipes_;
  int stdout_ = -1;
  int terminal_ = -1;
};

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("subprocess: " + what); }

/// What a program gets ends with a NUL.
void check_text(const char* what, const std::string& text) {
  if (text.find('\0') != std::string::npos) refuse(std::string(what) + " has a NUL inside");
}

void check_variable(const std::string& name, const std::string& value) {
  check_text("an environment variable", name + value);
  if (name.empty() || name.find('=') != std::string::npos)
    refuse("'" + name + "' is no name of an environment variable");
}

void check_texts(const std::vector<std::string>& args, const SubprocessOptions& options) {
  if (args.empty()) refuse("there is no program");
  for (const std::string& arg : args) check_text("an argument", arg);
  check_text("the program's name", options.executable);
  check_text("the directory", options.cwd);
  if (options.env)
    for (const auto& [name, value] : *options.env) check_variable(name, value);
  for (const auto& [name, value] : options.env_changes) check_variable(name, value.value_or(""));
}

}  // namespace

void check_options(const std::vector<std::string>& args, const SubprocessOptions& options) {
  check_texts(args, options);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int choice = choice_of(options, fd);
    if (choice < INHERIT) refuse(std::string(stream_names[fd]) + " is " + std::to_string(choice));
    if (choice == STDOUT && fd != STDERR_FILENO)
      refuse(std::string("STDOUT is for stderr_, not for ") + stream_names[fd]);
  }
  std::set<int> numbers;
  for (const PassedFd& passed : options.pass_fds) {
    if (passed.fd < 0) refuse("descriptor " + std::to_string(passed.fd) + " cannot be passed");
    if (passed.number <= STDERR_FILENO) refuse("the standard streams have options of their own");
    if (!numbers.insert(passed.number).second)
      refuse("two descriptors are passed as number " + std::to_string(passed.number));
  }
  if (options.pty && !is_on_terminal(options, STDIN_FILENO) && !is_on_terminal(options, STDOUT_FILENO))
    refuse("neither stdin nor stdout is left for the terminal");
}

bool shares_terminal(const SubprocessOptions& options) noexcept {
  return is_on_terminal(options, STDIN_FILENO) && is_on_terminal(options, STDOUT_FILENO);
}

Launched launch(EventLoop& loop, const std::vector<std::string>& args, const SubprocessOptions& options) {
  loop.check_usable();
  ChildImage image(args, options);
  StandardStreams streams(loop, options, image);
  StartedChild started = image.start();
  const bool leads = options.start_new_session || options.pty || options.process_group == pid_t{0};
  Launched launched{Child::watch(loop, std::move(started), leads ? Child::Group::leads : Child::Group::follows),
                    streams.take_pipes()};
  return launched;
}

}  // namespace tulp::detail
