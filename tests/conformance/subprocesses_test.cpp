// Process, and what communicate() and wait() promise: semantics rows 89, 91 and 92; field notes 4-#16.
#include <tulp/run.hpp>
#include <tulp/subprocess.hpp>
#include <tulp/wait.hpp>

#include <fcntl.h>

#include <csignal>

#include "support/cancel_points.hpp"
#include "support/children.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

class Processes : public ChildTest {
 public:
  Processes() { ::signal(SIGPIPE, SIG_DFL); }  // what would kill us

  /// The group that a test's grandchildren are in.
  static void kill_group(pid_t group) { CHECK(::kill(-group, SIGKILL) == 0); }
};

constexpr std::size_t input_bytes = 3'000'000;  // more than all pipes and buffers hold

}  // namespace

TEST_CASE_METHOD(Processes, "a process's pipes are streams, and wait() gives its return code") {
  run([&] {
    Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    CHECK(process.pid() > 0);
    CHECK_FALSE(process.returncode());
    process.stdin_().write("hello\n");
    CHECK(process.stdout_().readline() == "hello\n");
    CHECK_THROWS_AS(process.stderr_(), InvalidStateError);
    process.stdin_().close();
    CHECK(process.stdout_().read().empty());
    CHECK(process.wait() == 0);
    CHECK(process.returncode() == 0);
    CHECK(process.wait() == 0);
  });
}

TEST_CASE_METHOD(Processes, "a shell runs a command; another one if that is asked for") {
  run([&] {
    CHECK(create_subprocess_shell("exit 5").wait() == 5);
    CHECK(create_subprocess_shell("echo $0", {.stdout_ = PIPE}).communicate().stdout_ == "/bin/sh\n");
    CHECK(create_subprocess_shell("echo $0", {.stdout_ = PIPE, .executable = "/bin/bash"}).communicate().stdout_ ==
          "/bin/bash\n");
  });
}

TEST_CASE_METHOD(Processes, "a child that dies by a signal has its negative number") {
  run([&] {
    CHECK(create_subprocess_shell("kill -SEGV $$").wait() == -SIGSEGV);
    Process process = create_subprocess_exec({"sleep", "1000"});
    CHECK(process.terminate());
    CHECK(process.wait() == -SIGTERM);
    CHECK_FALSE(process.kill());
  });
}

TEST_CASE_METHOD(Processes, "several tasks may wait for one process, also after its end") {
  run([&] {
    Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE});
    std::vector<Task<int>> waiting;
    for (int i = 0; i < 3; ++i) waiting.push_back(create_task([&] { return process.wait(); }));
    let_others_run(3);
    process.stdin_().close();
    for (const auto& task : waiting) CHECK(await(task) == 0);
  });
}

TEST_CASE_METHOD(Processes, "wait() does not wait for who holds the output, and reading goes on after it") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  run([&] {
    Process process = create_subprocess_shell("{ read line <&7; echo $line; } & exit 4",
                                              {.stdout_ = PIPE, .pass_fds = {{ends[0], 7}}});
    CHECK(process.wait() == 4);
    CHECK(::write(ends[1], "late\n", 5) == 5);
    CHECK(process.stdout_().read() == "late\n");
  });
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_METHOD(Processes, "wait() with full pipes does not deadlock, and what came is there to be read") {
  run([&] {
    Process process = create_subprocess_shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3",
                                              {.stdout_ = PIPE, .stderr_ = PIPE});
    CHECK(process.wait() == 3);
    CHECK(process.stdout_().readexactly(1000) == std::string(1000, '\0'));
    CHECK(process.stdout_().read().size() == input_bytes - 1000);
    CHECK(process.stdout_().at_eof());
    CHECK(process.stderr_().read().size() == input_bytes);
  });
}

TEST_CASE_METHOD(Processes, "who reads while another task waits gets every byte, in order") {
  run([&] {
    Process process = create_subprocess_exec({"seq", "200000"}, {.stdout_ = PIPE});
    auto waiting = create_task([&] { return process.wait(); });
    int expected = 0;
    for (const std::string& line : process.stdout_().lines()) {
      if (line != std::to_string(++expected) + "\n") break;
      if (expected % 1000 == 0) let_others_run(2);  // while nobody reads, wait() does
    }
    CHECK(expected == 200000);
    CHECK(await(waiting) == 0);
  });
}

TEST_CASE_METHOD(Processes, "communicate() feeds, reads both and waits, all at once") {
  run([&] {
    const std::string sent(input_bytes, 'x');
    Process process =
        create_subprocess_exec({"tee", "/dev/stderr"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    const ProcessOutput output = process.communicate(sent);
    CHECK(output.stdout_ == sent);
    CHECK(output.stderr_ == sent);
    CHECK(output.is_complete);
    CHECK(process.returncode() == 0);
  });
}

TEST_CASE_METHOD(Processes, "communicate() without pipes is wait()") {
  run([&] {
    Process process = create_subprocess_shell("exit 9");
    const ProcessOutput output = process.communicate();
    CHECK((output.stdout_.empty() && output.stderr_.empty() && output.is_complete));
    CHECK(process.returncode() == 9);
    CHECK_THROWS_AS(create_subprocess_shell("true").communicate("input"), InvalidStateError);
  });
}

TEST_CASE_METHOD(Processes, "a child that never reads, or not all, is no error for communicate()") {
  run([&] {
    const std::string sent(input_bytes, 'x');
    CHECK(create_subprocess_exec({"true"}, {.stdin_ = PIPE}).communicate(sent).is_complete);
    CHECK(create_subprocess_exec({"head", "-c", "10"}, {.stdin_ = PIPE, .stdout_ = PIPE}).communicate(sent).stdout_ ==
          "xxxxxxxxxx");
    CHECK(create_subprocess_shell("exec <&-; echo done", {.stdin_ = PIPE, .stdout_ = PIPE}).communicate(sent).stdout_ ==
          "done\n");
  });
}

TEST_CASE_METHOD(Processes, "what was read before communicate() is not there again, what was read ahead is") {
  run([&] {
    Process process = create_subprocess_exec({"printf", "one\\ntwo\\nthree\\n"}, {.stdout_ = PIPE});
    CHECK(process.stdout_().readline() == "one\n");
    CHECK(process.communicate().stdout_ == "two\nthree\n");
    CHECK(process.communicate().stdout_.empty());
  });
}

TEST_CASE_METHOD(Processes, "a communicate() that times out leaves the child running, and the next one loses nothing") {
  run([&] {
    const std::string sent(input_bytes, 'x');
    Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    process.send_signal(SIGSTOP);
    CHECK_THROWS_AS(process.communicate(sent, 20ms), TimeoutError);
    CHECK_FALSE(process.returncode());
    CHECK_THROWS_AS(process.communicate("again"), InvalidStateError);
    process.send_signal(SIGCONT);
    CHECK(process.communicate().stdout_.size() == input_bytes);
    CHECK(process.returncode() == 0);
  });
}

TEST_CASE_METHOD(Processes, "a cancelled communicate() or wait() leaves the child running") {
  run([&] {
    Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    cancel_at_each_point(
        3, [&] { return std::vector<Task<>>{create_task([&] { process.wait(); })}; },
        [&](const auto&, std::size_t) { CHECK_FALSE(process.returncode()); });
    process.send_signal(SIGSTOP);
    const std::string sent(input_bytes, 'x');
    auto communicating = create_task([&] { process.communicate(sent); });
    let_others_run(5);
    communicating.cancel();
    CHECK_THROWS_AS(await(communicating), FutureCancelledError);
    CHECK_FALSE(process.returncode());
    process.send_signal(SIGCONT);
    CHECK(process.communicate().stdout_ == sent);
  });
}

TEST_CASE_METHOD(Processes, "one task at a time communicates, and nobody else may read") {
  run([&] {
    Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    auto reading = create_task([&] { return process.stdout_().read(1); });
    let_others_run(3);
    CHECK_THROWS_AS(process.communicate(), InvalidStateError);
    process.stdin_().write("x");
    CHECK(await(reading) == "x");
    auto communicating = create_task([&] { return process.communicate().stdout_; });
    CHECK_THROWS_AS(
        [&] {
          let_others_run(1);
          process.communicate();
        }(),
        InvalidStateError);
    CHECK(await(communicating).empty());
  });
}

TEST_CASE_METHOD(Processes, "a grandchild that holds the output does not hang communicate(), which says so") {
  run([&] {
    Process process =
        create_subprocess_shell("echo begin; sleep 1000 & exit 6", {.stdout_ = PIPE, .start_new_session = true});
    const ProcessOutput output = process.communicate({}, {.eof_grace = 20ms});
    CHECK(output.stdout_ == "begin\n");
    CHECK_FALSE(output.is_complete);
    CHECK(process.returncode() == 6);
    kill_group(process.pid());
    CHECK(process.stdout_().read().empty());
  });
}

TEST_CASE_METHOD(Processes, "what a child has written is there even if nobody may hold its output for a moment",
                 "[undisturbed]") {
  run([&] {
    Process process =
        create_subprocess_shell("echo begin; sleep 1000 & exit 6", {.stdout_ = PIPE, .start_new_session = true});
    CHECK(process.communicate({}, {.eof_grace = 0s}).stdout_ == "begin\n");
    kill_group(process.pid());
  });
}

TEST_CASE_METHOD(Processes, "a grandchild that holds the input does not hang communicate()") {
  run([&] {
    Process process =
        create_subprocess_shell("exec 7<&0; sleep 1000 <&7 & exit 6", {.stdin_ = PIPE, .start_new_session = true});
    CHECK_FALSE(process.communicate(std::string(input_bytes, 'x'), {.eof_grace = 20ms}).is_complete);
    kill_group(process.pid());
  });
}

TEST_CASE_METHOD(Processes, "a signal to the group reaches the grandchildren") {
  run([&] {
    Process process =
        create_subprocess_shell("sleep 1000 & sleep 1000 & echo up; wait", {.stdout_ = PIPE, .process_group = 0});
    CHECK(process.stdout_().readline() == "up\n");
    CHECK(process.send_signal_to_group(SIGTERM));
    CHECK(process.stdout_().read().empty());  // nobody is left who holds it
    CHECK(process.wait() == -SIGTERM);
    CHECK_THROWS_AS(create_subprocess_exec({"true"}).send_signal_to_group(SIGTERM), InvalidStateError);
  });
}

TEST_CASE_METHOD(Processes, "what is left of a group is reached after the child's end, where the system can tell it") {
  if (!has_pidfd()) return;
  run([&] {
    Process process = create_subprocess_shell("sleep 1000 & exit 0", {.stdout_ = PIPE, .process_group = 0});
    CHECK(process.wait() == 0);
    if (!process.send_signal_to_group(SIGKILL)) kill_group(process.pid());  // Linux before 6.9
    CHECK(process.stdout_().read().empty());
  });
}

TEST_CASE_METHOD(Processes,
                 "dropping a process leaves the child alone; its pipes are closed, its end is taken note of") {
  run([&] {
    pid_t pid = -1;
    {
      Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
      pid = process.pid();
    }
    while (::kill(pid, 0) == 0) sleep(0s);  // it has read the end of its input, and was reaped
    CHECK(errno == ESRCH);
  });
}

TEST_CASE_METHOD(Processes, "a child that still runs when the loop closes is killed and reaped") {
  pid_t pid = -1;
  run([&] { pid = create_subprocess_exec({"sleep", "1000"}).pid(); });
  CHECK(::kill(pid, 0) == 0);
  loop().close();
  CHECK(::kill(pid, 0) == -1);
}

TEST_CASE("a child whose parent is killed goes on; its input ends") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const auto end = run_in_child([&] {
    tulp::run([&] {
      Process process =
          create_subprocess_shell("cat; echo over >&7", {.stdin_ = PIPE, .stdout_ = PIPE, .pass_fds = {{ends[1], 7}}});
      ::raise(SIGKILL);
    });
  });
  CHECK(end.died_of(SIGKILL));
  ::close(ends[1]);
  CHECK(read_all(ends[0]) == "over\n");
  ::close(ends[0]);
}

TEST_CASE_METHOD(Processes, "a reader that was moved away is read by whoever has it") {
  run([&] {
    Process process = create_subprocess_exec({"echo", "hello"}, {.stdout_ = PIPE});
    StreamReader mine = std::move(process.stdout_());
    CHECK(process.communicate().stdout_.empty());
    CHECK(mine.read() == "hello\n");
    CHECK_THROWS_AS(process.stdout_(), InvalidStateError);
  });
}

TEST_CASE_METHOD(Processes, "a reader that dies while a task waits for the process closes its pipe") {
  run([&] {
    Process process = create_subprocess_exec({"yes"}, {.stdout_ = PIPE});
    auto waiting = create_task([&] { return process.wait(); });
    let_others_run(2);
    { const StreamReader dies = std::move(process.stdout_()); }
    CHECK(await(waiting) == -SIGPIPE);  // which is at its default in the child
  });
}

TEST_CASE_METHOD(Processes, "what starts or waits for a process wants a task") {
  CHECK_THROWS_AS(create_subprocess_exec({"true"}), InvalidStateError);
  CHECK_THROWS_AS(create_subprocess_shell("true"), InvalidStateError);
}
