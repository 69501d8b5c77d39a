#include <tulp/error.hpp>
#include <tulp/subprocess.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>
#include <utility>

#include "process/launch.hpp"
#include "streams/drain.hpp"
#include "tasks/park_until.hpp"
#include "streams/reader_state.hpp"
#include "streams/stream.hpp"

namespace tulp {
namespace detail {

struct ProcessState {
  ProcessState(EventLoop& its_loop, std::shared_ptr<Child> its_child) : loop(its_loop), child(std::move(its_child)) {
    child->on_exit([this] { wake(); });
  }
  ProcessState(const ProcessState&) = delete;
  ProcessState& operator=(const ProcessState&) = delete;
  ~ProcessState() { child->on_exit(nullptr); }

  /// For the one who communicates: something has changed.
  void wake() noexcept {
    if (communicating != nullptr && !communicating->is_queued()) loop.post(*communicating);
  }
  bool is_drained() const noexcept {
    return std::all_of(drains.begin(), drains.end(), [](const Drain::Pointer& drain) { return drain->is_over(); });
  }
  StreamTransport* input() const noexcept { return stdin_stream ? &stdin_stream->transport() : nullptr; }

  EventLoop& loop;
  std::shared_ptr<Child> child;
  std::shared_ptr<Stream> stdin_stream;
  std::optional<StreamWriter> stdin_;
  std::optional<StreamReader> stdout_, stderr_;

  int drainer_count = 0;  // tasks that wait or communicate
  std::vector<Drain::Pointer> drains;

  TaskControl* communicating = nullptr;
  bool has_input = false;  // from an earlier communicate(), be it empty
  std::string rest_of_input;
};

namespace {

StreamReader& reader_of(std::optional<StreamReader>& reader, const char* name) {
  if (!reader || reader->state() == nullptr)
    throw InvalidStateError(std::string(name) + " of this process is no pipe here");
  return *reader;
}

/// While it lives, what the child writes is kept, unless a task reads it.
class Draining {
 public:
  explicit Draining(ProcessState& process) : process_(process) {
    if (process_.drainer_count++ > 0) return;
    for (auto* reader : {&process_.stdout_, &process_.stderr_})
      if (*reader && (*reader)->state() != nullptr)
        process_.drains.push_back(Drain::open(process_.loop, *(*reader)->state(), [&process] { process.wake(); }));
  }
  Draining(const Draining&) = delete;
  Draining& operator=(const Draining&) = delete;
  ~Draining() {
    if (--process_.drainer_count == 0) process_.drains.clear();
  }

 private:
  ProcessState& process_;
};

/// One communicate().
class Communication {
 public:
  Communication(ProcessState& process, TaskControl& me, std::string_view input, const CommunicateOptions& options);
  Communication(const Communication&) = delete;
  Communication& operator=(const Communication&) = delete;
  ~Communication();

  /// Parks.  False if the output was not at its end when the time for that was over.
  bool run();

 private:
  class Wait;
  void feed();
  bool is_over() const noexcept {
    return process_.child->returncode() && process_.is_drained() && feeder_.rest.empty() && is_input_closed_;
  }
  void note_exit();

  ProcessState& process_;
  TaskControl& me_;
  const CommunicateOptions& options_;
  const TimePoint deadline_;
  TimePoint end_of_grace_ = TimePoint::max();
  std::string kept_input_;
  StreamTransport::Feeder feeder_;
  bool is_input_closed_ = false;
  bool has_exited_ = false;
};

/// Woken by the pipe to stdin when that takes more, by the output's ends and by the child's.
class Communication::Wait final : public Park {
 public:
  Wait(StreamTransport* input, StreamTransport::Feeder& feeder) noexcept : input_(input), feeder_(feeder) {
    if (input_ != nullptr && !feeder_.rest.empty()) input_->arm_feeder(feeder_);
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  ~Wait() { undo(); }
  void undo() noexcept override {
    if (input_ != nullptr) input_->disarm_feeder(feeder_);
  }
  std::string description() const override { return "what a child process writes, and its end"; }

 private:
  StreamTransport* input_;
  StreamTransport::Feeder& feeder_;
};

Communication::Communication(ProcessState& process, TaskControl& me, std::string_view input,
                             const CommunicateOptions& options)
    : process_(process),
      me_(me),
      options_(options),
      deadline_(options.timeout.is_never() ? TimePoint::max() : after(process.loop.time(), options.timeout)),
      kept_input_(std::exchange(process.rest_of_input, {})),
      feeder_{me, process.has_input ? std::string_view(kept_input_) : input} {
  process_.communicating = &me;
  process_.has_input = true;
}

/// What was not sent waits for the next one, unless the child does not want it any more.
Communication::~Communication() {
  process_.communicating = nullptr;
  process_.rest_of_input = std::string(feeder_.rest);
}

void Communication::feed() {
  StreamTransport* input = process_.input();
  if (input == nullptr || input->is_closing() || input->is_lost() || input->write_error()) {
    feeder_.rest = {};
    is_input_closed_ = true;
  }
  if (is_input_closed_) return;
  feeder_.rest.remove_prefix(input->send(feeder_.rest));
  if (!feeder_.rest.empty()) return;
  is_input_closed_ = true;
  if (input->can_write_eof()) input->write_eof();
}

/// From then on the time is counted that others have.  What the child has written is there by now.
void Communication::note_exit() {
  if (!process_.child->returncode() || has_exited_) return;
  has_exited_ = true;
  process_.communicating = nullptr;  // who runs is not woken
  for (const Drain::Pointer& drain : process_.drains) drain->read_what_is_there();
  process_.communicating = &me_;
  if (!options_.eof_grace.is_never()) end_of_grace_ = after(process_.loop.time(), options_.eof_grace);
}

bool Communication::run() {
  for (;;) {
    note_exit();
    feed();
    if (is_over()) return true;
    const TimePoint now = process_.loop.time();
    if (now >= end_of_grace_) return false;
    if (now >= deadline_)
      throw TimeoutError("communicate() with process " + std::to_string(process_.child->pid()) + " timed out");
    throw_if_cancelled();
    Wait wait(process_.input(), feeder_);
    park_until(wait, me_, std::min(deadline_, end_of_grace_));
  }
}

std::string take_all(std::optional<StreamReader>& reader) {
  return reader && reader->state() != nullptr ? reader->state()->take(to_eof) : std::string();
}

bool is_read_by_another(const std::optional<StreamReader>& reader) {
  return reader && reader->state() != nullptr && reader->state()->is_busy;
}

}  // namespace
}  // namespace detail

using detail::Stream;

Process::Process(std::unique_ptr<detail::ProcessState> state) noexcept : state_(std::move(state)) {}
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Process::~Process() = default;

pid_t Process::pid() const noexcept { return state_->child->pid(); }
std::optional<int> Process::returncode() const noexcept { return state_->child->returncode(); }

StreamWriter& Process::stdin_() {
  if (!state_->stdin_) throw InvalidStateError("stdin of this process is no pipe here");
  return *state_->stdin_;
}
StreamReader& Process::stdout_() { return detail::reader_of(state_->stdout_, "stdout"); }
StreamReader& Process::stderr_() { return detail::reader_of(state_->stderr_, "stderr"); }

int Process::wait() {
  detail::require_task("Process::wait");
  const detail::Draining draining(*state_);
  state_->child->wait();
  return *state_->child->returncode();
}

ProcessOutput Process::communicate(std::string_view input, const CommunicateOptions& options) {
  detail::TaskControl& me = detail::require_task("Process::communicate");
  detail::ProcessState& process = *state_;
  if (process.communicating != nullptr || detail::is_read_by_another(process.stdout_) ||
      detail::is_read_by_another(process.stderr_))
    throw InvalidStateError("communicate() was called while another task reads from this process");
  if (!input.empty() && process.has_input)
    throw InvalidStateError("communicate() takes input once; the rest of that is being sent");
  if (!input.empty() && (process.input() == nullptr || process.input()->is_closing()))
    throw InvalidStateError("there is input for a process that has no pipe for it");
  const detail::Draining draining(process);
  const bool is_complete = detail::Communication(process, me, input, options).run();
  return {detail::take_all(process.stdout_), detail::take_all(process.stderr_), is_complete};
}

bool Process::send_signal(int signal) { return state_->child->send_signal(signal); }
bool Process::send_signal_to_group(int signal) { return state_->child->send_signal_to_group(signal); }
bool Process::terminate() { return send_signal(SIGTERM); }
bool Process::kill() { return send_signal(SIGKILL); }

namespace {

Process start_process(const char* function, const std::vector<std::string>& args, const SubprocessOptions& options) {
  EventLoop& loop = detail::require_task(function).loop();
  detail::check_options(args, options);
  detail::Launched launched = detail::launch(loop, args, options);
  auto state = std::make_unique<detail::ProcessState>(loop, std::move(launched.child));
  std::array<std::shared_ptr<Stream>, 3> streams;
  for (std::size_t fd = 0; fd < streams.size(); ++fd)
    if (launched.pipes[fd] != nullptr) streams[fd] = Stream::open(loop, std::move(launched.pipes[fd]));
  if (detail::shares_terminal(options)) streams[0] = streams[1];
  state->stdin_stream = streams[0];
  if (streams[0] != nullptr) state->stdin_.emplace(streams[0]);
  if (streams[1] != nullptr) state->stdout_.emplace(streams[1], options.limit_bytes);
  if (streams[2] != nullptr) state->stderr_.emplace(streams[2], options.limit_bytes);
  return Process(std::move(state));
}

}  // namespace

Process create_subprocess_exec(const std::vector<std::string>& args, const SubprocessOptions& options) {
  return start_process("create_subprocess_exec", args, options);
}

Process create_subprocess_shell(std::string command, SubprocessOptions options) {
  const auto args = detail::shell_args(std::move(command), options);
  return start_process("create_subprocess_shell", args, options);
}

}  // namespace tulp
