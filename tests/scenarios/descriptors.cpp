// Readers and writers: descriptors.py says what is expected.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

/// Two ends of one connection.
struct Pair {
  explicit Pair(std::string_view sent = "x") {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw_os_error(errno, "socketpair");
    one = UniqueFd(ends[0]);
    other = UniqueFd(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    [[maybe_unused]] const auto result = ::write(ends[1], sent.data(), sent.size());
  }
  /// What one byte's reading gives.
  long read() const {
    char byte = 0;
    return ::read(one.get(), &byte, 1);
  }
  UniqueFd one, other;
};

/// write(2) of so many bytes; its error is thrown.
void write_bytes(int fd, std::size_t count) {
  static const char zeros[4096] = {};
  if (::write(fd, zeros, count) < 0) throw_os_error(errno, "write");
}

}  // namespace

SCENARIO(the_reader_of_a_descriptor_is_called_before_its_writer) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_writer(one, trace, "writer");
  loop.add_reader(one, trace, "reader");
  run_once(loop);
  loop.remove_reader(one);
  loop.remove_writer(one);
}

SCENARIO(an_iteration_runs_what_is_queued_then_descriptors_then_timers) {
  const Pair pair;
  loop.call_at(loop.time() - 1s, trace, "timer");
  loop.add_reader(pair.one.get(), trace, "reader");
  loop.call_soon(trace, "callback");
  run_once(loop);
  loop.remove_reader(pair.one.get());
}

SCENARIO(a_reader_is_called_in_each_iteration_until_it_has_read) {
  const Pair pair;
  int calls = 0;
  loop.add_reader(pair.one.get(), [&] {
    trace("reader", calls);
    if (++calls == 3) pair.read();
  });
  for (int iteration = 0; iteration < 4; ++iteration) {
    trace("iteration", iteration);
    run_once(loop);
  }
  loop.remove_reader(pair.one.get());
}

SCENARIO(adding_again_replaces) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, trace, "former");
  loop.add_reader(one, trace, "reader");
  loop.add_writer(one, trace, "former");
  loop.add_writer(one, trace, "writer");
  run_once(loop);
  loop.remove_reader(one);
  loop.remove_writer(one);
}

SCENARIO(remove_says_whether_there_was_one) {
  const Pair pair;
  const int one = pair.one.get();
  const auto remove = [&](bool (EventLoop::*first)(int), bool (EventLoop::*second)(int)) {
    const bool was_there = (loop.*first)(one);
    trace(was_there, (loop.*second)(one));
  };
  remove(&EventLoop::remove_reader, &EventLoop::remove_writer);
  loop.add_reader(one, trace, "reader");
  remove(&EventLoop::remove_reader, &EventLoop::remove_writer);
  loop.add_reader(one, trace, "reader");
  loop.add_writer(one, trace, "writer");
  remove(&EventLoop::remove_reader, &EventLoop::remove_reader);
  run_once(loop);
  remove(&EventLoop::remove_writer, &EventLoop::remove_writer);
  run_once(loop);
}

SCENARIO(a_reader_removes_the_writer_that_is_queued_behind_it) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, [&] { trace("reader", loop.remove_writer(one)); });
  loop.add_writer(one, trace, "writer");
  run_once(loop);
  run_once(loop);
  const bool was_there = loop.remove_reader(one);
  trace(was_there, loop.remove_writer(one));
}

SCENARIO(a_reader_replaces_the_writer_that_is_queued_behind_it) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, [&] {
    trace("reader");
    loop.add_writer(one, trace, "new writer");
  });
  loop.add_writer(one, trace, "writer");
  run_once(loop);
  trace("-");
  loop.remove_reader(one);
  run_once(loop);
  const bool was_there = loop.remove_reader(one);
  trace(was_there, loop.remove_writer(one));
}

SCENARIO(a_callback_ahead_removes_no_reader_that_is_not_queued_yet) {
  const Pair pair;
  loop.call_soon([&] { trace("callback", loop.remove_reader(pair.one.get())); });
  loop.add_reader(pair.one.get(), trace, "reader");
  run_once(loop);
  run_once(loop);
}

SCENARIO(a_reader_removes_itself) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, [&] {
    const bool was_there = loop.remove_reader(one);
    trace("reader", was_there, loop.remove_reader(one));
  });
  run_once(loop);
  run_once(loop);
}

SCENARIO(a_reader_that_fails_is_reported_and_called_again) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, fail, "reader");
  loop.add_writer(one, trace, "writer");
  run_once(loop);
  run_once(loop);
  loop.remove_reader(one);
  loop.remove_writer(one);
}

SCENARIO(what_a_reader_gives_runs_in_the_next_iteration) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, [&] {
    trace("reader");
    loop.call_soon(trace, "given by the reader");
    loop.remove_reader(one);
  });
  loop.call_soon([&] { loop.call_soon(trace, "given by a callback"); });
  run_once(loop);
  trace("-");
  run_once(loop);
}

SCENARIO(the_other_ends_close_wakes_the_reader) {
  Pair pair("");
  loop.add_reader(pair.one.get(), [&] {
    trace("reader", pair.read());
    loop.stop();
  });
  loop.call_soon([&] { pair.other.reset(); });
  loop.run_forever();
  loop.remove_reader(pair.one.get());
}

SCENARIO(the_close_of_the_reading_end_of_a_pipe_wakes_the_writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_os_error(errno, "pipe2");
  UniqueFd reading(ends[0]), writing(ends[1]);
  while (outcome([&] { write_bytes(ends[1], 4096); }) != "EAGAIN") {
  }
  loop.add_writer(ends[1], [&] {
    trace("writer", outcome([&] { write_bytes(ends[1], 1); }));
    loop.stop();
  });
  run_once(loop);
  trace("full");
  loop.call_soon([&] { reading.reset(); });
  loop.run_forever();
  loop.remove_writer(ends[1]);
}

SCENARIO(a_reader_stops_the_loop) {
  const Pair pair;
  const int one = pair.one.get();
  loop.add_reader(one, [&] {
    trace("reader");
    loop.stop();
  });
  loop.add_writer(one, trace, "writer");
  loop.run_forever();
  loop.remove_reader(one);
  loop.remove_writer(one);
}

SCENARIO(a_descriptor_that_is_not_open_is_refused) {
  Pair pair;
  const int one = pair.one.get();
  pair.one.reset();
  trace(outcome([&] { loop.add_reader(one, trace, "never"); }));
  trace(outcome([&] { return loop.remove_reader(one); }));
}

SCENARIO(a_reader_among_a_chain_of_callbacks) {
  const Pair pair;
  const int one = pair.one.get();
  std::function<void(int)> link = [&](int left) {
    trace("chain", left);
    if (left > 1) loop.call_soon(link, left - 1);
  };
  loop.call_soon([&] {
    loop.call_soon(link, 3);
    loop.add_reader(one, [&] {
      trace("reader");
      loop.call_soon([&] { loop.call_soon([&] { loop.call_soon([&] { loop.stop(); }); }); });
      loop.remove_reader(one);
    });
  });
  loop.run_forever();
}
