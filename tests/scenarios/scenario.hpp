// What the C++ side of the scenarios shares; scenario.py says what a scenario is, and is the same for Python.
#pragma once
#include <tulp/error.hpp>
#include <tulp/protocol.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/unique_fd.hpp"

namespace tulp::scenarios {

using namespace std::chrono_literals;

/// The error of scenarios; on both sides only its text is traced.
struct Oops : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fail(const char* text = "oops");

/// An exception in the words of both sides.
std::string name_of(const std::exception_ptr& error);

/// A word of a trace, as Python's str() writes it.
template <class Word>
std::string text_of(const Word& word) {
  if constexpr (std::same_as<Word, bool>)
    return word ? "True" : "False";
  else if constexpr (std::integral<Word>)
    return std::to_string(word);
  else
    return std::string(std::string_view(word));
}

void print_line(const std::string& line);

/// Prints a line of words.
class Trace {
 public:
  template <class... Words>
  void operator()(const Words&... words) const {
    std::string line;
    ((line += (line.empty() ? "" : " ") + text_of(words)), ...);
    print_line(line);
  }
};

/// What `call()` returns, or the name of what it throws.
template <class F>
std::string outcome(F&& call) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      call();
      return "None";
    } else if constexpr (std::derived_from<std::invoke_result_t<F&>, Handle>) {
      call();
      return "a handle";
    } else {
      return text_of(call());
    }
  } catch (...) {
    return name_of(std::current_exception());
  }
}

/// One iteration: poll without waiting, and run what is there.
void run_once(EventLoop& loop);
template <class Condition>
void run_until(EventLoop& loop, Condition condition) {
  while (!condition()) run_once(loop);
}
/// Keeps the loop busy, so that everything that is due by then is due at once.
void let_pass(EventLoop& loop, Duration time);

/// Traces `count` passes of the loop from now on.
void mark_passes(EventLoop& loop, int count);

/// How a task has ended.
template <class T>
std::string ending(const Task<T>& task) {
  if (!task.done()) return "pending";
  return task.cancelled() ? "cancelled" : outcome([&] { return task.result(); });
}
/// Parks: until `task` has ended; says how.  Waits for a future of its own, not for the task.
template <class T>
std::string end_of(Task<T> task) {
  Future<> ended;
  task.add_done_callback([=](const Future<T>&) mutable { ended.set_result(); });
  await(ended);
  return ending(task);
}

/// A protocol that traces its calls.
class Recorder : public Protocol {
 public:
  explicit Recorder(std::string name = {}) : prefix_(name.empty() ? "" : name + " ") {}

  void connection_made(std::shared_ptr<Transport> made) override;
  void data_received(std::string_view data) override;
  bool eof_received() override;
  void pause_writing() override;
  void resume_writing() override;
  void connection_lost(std::exception_ptr error) override;

  std::function<void()> on_made, on_data, on_eof, on_pause, on_resume, on_lost;
  bool keeps_writing = false;

  std::shared_ptr<Transport> transport;
  int count = 0;  // of calls of data_received
  bool has_ended = false;
  bool is_lost = false;

 private:
  void hear(const std::string& what, const std::function<void()>& hook) const;
  std::string prefix_;
};

/// A plain blocking socket.
class Peer {
 public:
  explicit Peer(UniqueFd socket);
  static Peer connect(std::uint16_t port);

  void send(std::string_view text) const;
  void half_close() const;
  void reset();
  void close() { socket_.reset(); }
  /// What the peer gets until the end of the stream.
  std::string receive() const;
  /// Takes what is there; how many bytes that were.
  std::size_t take() const;
  /// Whether the end of the stream has come.
  bool has_ended() const;

 private:
  UniqueFd socket_;
};

/// A plain listening socket on a port of the system's choice.
class PlainListener {
 public:
  PlainListener();
  std::uint16_t port() const noexcept { return port_; }
  Peer accept() const;

 private:
  UniqueFd socket_;
  std::uint16_t port_ = 0;
};

/// A transport that is connected to a plain socket.
class Wire {
 public:
  Wire(EventLoop& loop, std::shared_ptr<Recorder> protocol);
  /// The peer sends; returns when the transport's socket has it.
  void send(std::string_view text) const;
  void half_close() const;
  void reset();

  std::shared_ptr<Transport> transport;
  Peer peer;

 private:
  Wire(EventLoop& loop, const std::shared_ptr<Recorder>& protocol, const PlainListener& listener);
  void wait_until_readable() const;
};

struct Scenario {
  const char* name;
  void (*body)(EventLoop& loop, const Trace& trace);
};
std::vector<Scenario>& all_scenarios();

struct Registration {
  Registration(const char* name, void (*body)(EventLoop&, const Trace&)) { all_scenarios().push_back({name, body}); }
};

/// SCENARIO(name) { ... } has a `loop` of its own and a `trace`.  It leaves no task and no transport behind.
#define SCENARIO(name)                                                    \
  static void name(tulp::EventLoop&, const tulp::scenarios::Trace&);      \
  static const tulp::scenarios::Registration name##_is_here{#name, name}; \
  static void name([[maybe_unused]] tulp::EventLoop& loop, [[maybe_unused]] const tulp::scenarios::Trace& trace)

}  // namespace tulp::scenarios
