// tulp run: runs many shell commands, some of them at a time, and keeps each one's output together.
#include <unistd.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "command.hpp"
#include "concurrently.hpp"
#include "output.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

constexpr tulp::Duration grace = 2s;  // between SIGTERM and SIGKILL
constexpr std::size_t longest_line_bytes = 1024 * 1024;
constexpr int could_not_start = 126;  // as a shell says of what cannot be executed

struct RunSettings {
  std::vector<std::string> commands;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  bool is_quiet = false;
};

/// Commands from the command line, or as they come from standard input.
class Commands {
 public:
  explicit Commands(std::vector<std::string> listed) : listed_(std::move(listed)) {
    if (listed_.empty()) lines_.emplace(tulp::open_stdin());
  }

  /// Parks.
  std::optional<std::string> next() {
    if (!lines_) return taken_ < listed_.size() ? std::optional(listed_[taken_++]) : std::nullopt;
    const std::lock_guard one_reader(lock_);
    for (std::string line; lines_->readline_into(line, {.limit_bytes = longest_line_bytes});) {
      if (line.back() == '\n') line.pop_back();
      if (line.find_first_not_of(" \t\r") != std::string::npos) return ++taken_, line;
    }
    is_over_ = true;
    return std::nullopt;
  }
  std::size_t taken_count() const noexcept { return taken_; }
  /// How many there are in all, if that is known.
  std::optional<std::size_t> count() const noexcept {
    if (lines_) return is_over_ ? std::optional(taken_) : std::nullopt;
    return listed_.size();
  }

 private:
  std::vector<std::string> listed_;
  std::optional<tulp::StreamReader> lines_;
  tulp::Lock lock_;
  std::size_t taken_ = 0;
  bool is_over_ = false;
};

/// What a command writes, in a file without a name: however much that is, and whoever writes on after its end.
class Kept {
 public:
  Kept() : file_(std::tmpfile()) {
    if (file_ == nullptr) throw WriteError(errno, "temporary file");
  }
  int fd() const noexcept { return ::fileno(file_.get()); }
  void print_to(int to, const char* name) const {
    char piece[64 * 1024];
    off_t at = 0;
    for (ssize_t size = 0; (size = ::pread(fd(), piece, sizeof piece, at)) > 0; at += size)
      write_all(to, {piece, static_cast<std::size_t>(size)}, name);
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

/// All commands of one tulp run.
class Run {
 public:
  explicit Run(RunSettings settings) : settings_(std::move(settings)), commands_(std::move(settings_.commands)) {}

  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { killer_.cancel(); }

  ExitCode run();

 private:
  void run_one(const std::string& command);
  std::optional<int> wait_for(tulp::Process& process);
  void terminate_all();
  void signal_all(int signal);
  void wait_for_group(tulp::Process& process);
  void note_end(const std::string& command, int returncode);
  void show_progress();
  std::string in_words() const;

  RunSettings settings_;
  Commands commands_;
  std::list<tulp::Process*> running_;
  std::size_t succeeded_count_ = 0;
  std::size_t failed_count_ = 0;
  std::size_t stopped_count_ = 0;
  int worst_ = 0;
  bool is_stopping_ = false;
  tulp::TimePoint end_of_grace_;
  tulp::TimerHandle killer_;
  StatusLine status_{STDERR_FILENO};
  const tulp::TimePoint begin_ = tulp::get_event_loop().time();
};

ExitCode Run::run() {
  std::optional<Ticker> ticker;
  if (status_.is_visible() && !settings_.is_quiet) ticker.emplace(100ms, [this] { show_progress(); });
  try {
    on_fibers(settings_.jobs, [this] {
      while (!is_stopping_) {
        const auto command = commands_.next();
        if (!command) return;
        run_one(*command);
      }
    });
  } catch (const tulp::CancelledError&) {
    ticker.reset();
    status_.clear();
    complain("tulp run", "interrupted: " + in_words());
    throw;
  }
  ticker.reset();
  status_.clear();
  if (!settings_.is_quiet) complain("tulp run", in_words());
  return static_cast<ExitCode>(worst_);
}

/// In a group of its own, so that what it starts in turn can be stopped with it.
void Run::run_one(const std::string& command) {
  const Kept output, errors;
  std::optional<tulp::Process> process;
  try {
    process = tulp::create_subprocess_shell(
        command, {.stdin_ = tulp::DEVNULL, .stdout_ = output.fd(), .stderr_ = errors.fd(), .process_group = 0});
  } catch (const std::exception& error) {
    status_.clear();
    complain("tulp run", command + ": " + error.what());
    ++failed_count_;
    worst_ = std::max(worst_, could_not_start);
    return;
  }
  const std::optional<int> returncode = wait_for(*process);
  if (!returncode) return;
  status_.clear();
  output.print_to(STDOUT_FILENO, "stdout");
  errors.print_to(STDERR_FILENO, "stderr");
  note_end(command, *returncode);
}

/// Nothing if it was stopped.
std::optional<int> Run::wait_for(tulp::Process& process) {
  const auto place = running_.insert(running_.end(), &process);
  std::exception_ptr cancelled;
  try {
    process.wait();
  } catch (const tulp::CancelledError&) {
    cancelled = std::current_exception();
    terminate_all();
  }
  if (is_stopping_) {
    const tulp::CancelShield shield;
    wait_for_group(process);
    ++stopped_count_;
  }
  running_.erase(place);
  if (cancelled) std::rethrow_exception(cancelled);
  return is_stopping_ ? std::nullopt : process.returncode();
}

/// Whoever is cancelled first does it for all, so that all have the same time.
void Run::terminate_all() {
  if (std::exchange(is_stopping_, true)) return;
  signal_all(SIGTERM);
  signal_all(SIGCONT);  // what is stopped could not end
  tulp::EventLoop& loop = tulp::get_event_loop();
  end_of_grace_ = tulp::after(loop.time(), grace);
  killer_ = loop.call_at(end_of_grace_, [this] { signal_all(SIGKILL); });
}

void Run::signal_all(int signal) {
  for (tulp::Process* process : running_) process->send_signal_to_group(signal);
}

/// For the command and what it has started, of which nothing is left then.
void Run::wait_for_group(tulp::Process& process) {
  process.wait();
  while (process.send_signal_to_group(0) && tulp::get_event_loop().time() < end_of_grace_) tulp::sleep(10ms);
  process.send_signal_to_group(SIGKILL);
}

void Run::note_end(const std::string& command, int returncode) {
  if (returncode == 0) {
    ++succeeded_count_;
    return;
  }
  ++failed_count_;
  const bool was_killed = returncode < 0;
  worst_ = std::max(worst_, was_killed ? 128 - returncode : returncode);
  if (settings_.is_quiet) return;
  const std::string how =
      was_killed ? std::string("killed: ") + ::strsignal(-returncode) : "exited with " + std::to_string(returncode);
  complain("tulp run", command + ": " + how);
}

void Run::show_progress() {
  const std::size_t ended_count = succeeded_count_ + failed_count_;
  std::string line = std::to_string(ended_count);
  if (const auto count = commands_.count()) line += " of " + std::to_string(*count);
  line += " done, " + std::to_string(running_.size()) + " running";
  if (failed_count_ > 0) line += ", " + std::to_string(failed_count_) + " failed";
  status_.show(line + ", " + in_time(tulp::get_event_loop().time() - begin_));
}

/// "12 commands in 3.20 s: 10 succeeded, 2 failed".
std::string Run::in_words() const {
  const std::size_t count = commands_.count().value_or(commands_.taken_count());
  std::string text = std::to_string(count) + (count == 1 ? " command in " : " commands in ") +
                     in_time(tulp::get_event_loop().time() - begin_) + ": " + std::to_string(succeeded_count_) +
                     " succeeded, " + std::to_string(failed_count_) + " failed";
  const std::size_t begun_count = succeeded_count_ + failed_count_ + stopped_count_;
  if (stopped_count_ > 0) text += ", " + std::to_string(stopped_count_) + " stopped";
  if (begun_count < count) text += ", " + std::to_string(count - begun_count) + " not begun";
  return text;
}

constexpr const char* run_help = R"(Example: tulp run --jobs 4 'make -C lib' 'make -C doc' './check all'
         sed 's|.*|gzip -k "&"|' names.txt | tulp run

What a command writes is printed when it has ended, its stdout and its stderr each in one piece.  The commands
read nothing.  Ctrl-C stops them all, with what they have started: SIGTERM first, SIGKILL two seconds later.
A second Ctrl-C ends tulp itself, at once.

Exit code: that of the worst command, which is the highest; 128 + N for one that signal N ended, 126 for one
that could not be started; 0 if all went well.
   2  bad arguments
  23  the output could not be written
 130  interrupted (Ctrl-C); 143: terminated)";

}  // namespace

void add_run(CLI::App& app, Command& chosen) {
  const auto settings = std::make_shared<RunSettings>();
  CLI::App* run = app.add_subcommand("run", "Run shell commands, some of them at a time");
  run->add_option("COMMAND", settings->commands, "A command for the shell; without any, standard input has one a line");
  run->add_option("-j,--jobs", settings->jobs, "How many run at a time; by default as many as there are cores")
      ->check(CLI::Range(1, 100'000));
  run->add_flag("-q,--quiet", settings->is_quiet, "Print what the commands print, and nothing else");
  run->footer(run_help);
  run->callback([&chosen, settings] { chosen = [settings] { return Run(*settings).run(); }; });
}

}  // namespace tool
