// fork(): a child process and its parent's event loop.  design.md section 5, field notes 4-#20.
#include <tulp/error.hpp>
#include <tulp/run.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <csignal>
#include <string_view>

#include "support/loops.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Forks in the middle of whatever runs, and lets `body` end the child.
template <class Body>
ChildEnd fork_here(Body body) {
  return run_in_child([&] {
    body();
    std::_Exit(99);
  });
}

template <class Call>
bool is_refused_in_child(Call call) {
  try {
    call();
  } catch (const InvalidStateError& error) {
    return std::string_view(error.what()).find("belongs to the parent") != std::string_view::npos;
  }
  return false;
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "in a child process a loop that ran refuses to be used, and says why") {
  ChildEnd end{};
  loop().call_soon([&] {
    end = fork_here([&] {
      const bool is_refused = is_refused_in_child([&] { loop().call_soon([] {}); }) &&
                              is_refused_in_child([&] { loop().call_later(1s, [] {}); }) &&
                              is_refused_in_child([&] { loop().add_reader(0, [] {}); }) &&
                              is_refused_in_child([&] { loop().run_forever(); });
      std::_Exit(is_refused ? 7 : 8);
    });
    loop().stop();
  });
  loop().run_forever();
  CHECK(end.exited_with(7));
}

TEST_CASE_METHOD(LoopTest,
                 "a callback that forks and returns ends the child's run with an error, and runs nothing twice") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  pid_t child = -1;
  loop().call_soon([&] { child = ::fork(); });
  loop().call_soon([&] { REQUIRE(::write(ends[1], "once,", 5) == 5); });
  loop().call_soon([&] { loop().stop(); });
  try {
    loop().run_forever();
  } catch (const InvalidStateError&) {
    std::_Exit(child == 0 ? 7 : 8);
  }
  if (child == 0) std::_Exit(9);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 7));
  ::close(ends[1]);
  CHECK(read_all(ends[0]) == "once,");
  ::close(ends[0]);
}

TEST_CASE_METHOD(LoopTest, "a child that destroys its copy of the loop does not disturb the parent's descriptors") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  bool was_readable = false;
  loop().add_reader(ends[0], [&] {
    was_readable = true;
    loop().stop();
  });
  loop().call_soon([&] {
    const ChildEnd end = fork_here([&] {
      loop().remove_reader(ends[0]);
      loop().close();
      std::_Exit(loop().is_closed() ? 7 : 8);
    });
    CHECK(end.exited_with(7));
    REQUIRE(::write(ends[1], "x", 1) == 1);
  });
  loop().run_forever();
  CHECK(was_readable);
  loop().remove_reader(ends[0]);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_METHOD(LoopTest, "a child makes a loop of its own, also when it was forked inside a task") {
  const auto end = run([] {
    return fork_here([] {
      const int result = tulp::run([] {
        sleep(1ms);
        return await(create_task([] { return 7; }));
      });
      std::_Exit(result);
    });
  });
  CHECK(end.exited_with(7));
}

TEST_CASE_METHOD(LoopTest, "in a child, a task that forked cannot park any more") {
  const auto end = run([] {
    return fork_here([] {
      try {
        sleep(1ms);
      } catch (const InvalidStateError&) {
        std::_Exit(7);
      }
    });
  });
  CHECK(end.exited_with(7));
}

TEST_CASE_METHOD(LoopTest,
                 "a child that comes to the end of the task that forked it ends there, with a line that says why") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  pid_t child = -1;
  run([&] {
    await(create_task({.name = "forker"}, [&] {
      child = ::fork();
      if (child == 0) ::dup2(ends[1], 2);
    }));
  });
  ::close(ends[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 1));
  const std::string errors = read_all(ends[0]);
  CHECK_THAT(errors, Catch::Contains("task 'forker'") && Catch::Contains("belongs to the parent"));
  ::close(ends[0]);
}

TEST_CASE("in a child, signals have the dispositions again that they had before the loop") {
  {
    new_event_loop()->add_signal_handler(SIGUSR1, [] {});
  }  // a descriptor that the process then keeps
  LoopTest test;
  EventLoop& loop = test.loop();
  loop.add_signal_handler(SIGUSR1, [] {});
  loop.add_signal_handler(SIGTERM, [] {});
  const ChildEnd end = fork_here([] { ::raise(SIGTERM); });
  CHECK(end.died_of(SIGTERM));
  loop.remove_signal_handler(SIGUSR1);
  loop.remove_signal_handler(SIGTERM);
}

TEST_CASE_METHOD(LoopTest,
                 "bytes that were written before a fork are sent once, and the child's destructors end no connection") {
  run([&] {
    std::string received;
    auto server = start_server([&](StreamReader reader, StreamWriter) { received = reader.read(); }, "127.0.0.1", 0);
    {
      auto [reader, writer] = open_connection("127.0.0.1", server.port());
      writer.write("gathered, ");
      const pid_t child = ::fork();
      if (child == 0) {
        {
          const StreamReader dies_too = std::move(reader);
          const StreamWriter dies = std::move(writer);
        }
        std::_Exit(7);
      }
      int status = 0;
      REQUIRE(::waitpid(child, &status, 0) == child);
      CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 7));
      writer.write("and more");
      writer.write_eof();
      CHECK(reader.read().empty());  // the server has read to the end, and closed
    }
    server.close();
    server.wait_closed();
    CHECK(received == "gathered, and more");
  });
}
