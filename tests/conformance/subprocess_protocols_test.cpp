// Child processes through SubprocessProtocol: semantics rows 89 to 91.
#include <tulp/error.hpp>
#include <tulp/subprocess_transport.hpp>
#include <tulp/task.hpp>

#include <csignal>
#include <map>
#include <stdexcept>

#include "support/children.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Keeps the order of what it hears; data by descriptor.
struct ProcessRecorder final : SubprocessProtocol {
  void connection_made(std::shared_ptr<SubprocessTransport> made) override {
    transport = std::move(made);
    trace.push_back("made");
  }
  void pipe_data_received(int fd, std::string_view data) override {
    CHECK_FALSE(trace.empty());
    received[fd] += data;
  }
  void pipe_connection_lost(int fd, std::exception_ptr error) override {
    trace.push_back("pipe " + std::to_string(fd) + " lost" + (error ? ": " + describe(error) : ""));
  }
  void process_exited() override {
    trace.push_back("exited");
    CHECK(transport->get_returncode());
  }
  void connection_lost(std::exception_ptr error) override {
    trace.push_back("lost");
    CHECK(error == nullptr);
    lost.set_result();
  }
  bool has(const std::string& event) const { return std::count(trace.begin(), trace.end(), event) == 1; }

  std::shared_ptr<SubprocessTransport> transport;
  Trace trace;
  std::map<int, std::string> received;
  Future<> lost;
};

class Subprocesses : public ChildTest {
 public:
  std::shared_ptr<ProcessRecorder> exec(std::vector<std::string> args, const SubprocessOptions& options = {}) {
    return await(loop().subprocess_exec([] { return std::make_shared<ProcessRecorder>(); }, std::move(args), options))
        .protocol;
  }
  std::shared_ptr<ProcessRecorder> shell(std::string command, SubprocessOptions options = {}) {
    return await(
               loop().subprocess_shell([] { return std::make_shared<ProcessRecorder>(); }, std::move(command), options))
        .protocol;
  }
};

}  // namespace

TEST_CASE_METHOD(Subprocesses, "made comes first, lost comes last, after the exit and every pipe") {
  run([&] {
    auto child = shell("cat; echo error >&2; exit 3", {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    CHECK(child->trace == Trace{"made"});
    const auto transport = child->transport;
    CHECK(transport->get_pid() > 0);
    CHECK(transport->get_extra_info<int>("pid") == transport->get_pid());
    CHECK_FALSE(transport->get_returncode());
    transport->get_pipe_transport(0)->write("hello");
    transport->get_pipe_transport(0)->write_eof();
    await(child->lost);
    CHECK(child->received == std::map<int, std::string>{{1, "hello"}, {2, "error\n"}});
    CHECK(child->trace.size() == 6);
    CHECK(child->trace.back() == "lost");
    for (const char* event : {"pipe 0 lost", "pipe 1 lost", "pipe 2 lost", "exited"}) CHECK(child->has(event));
    CHECK(transport->get_returncode() == 3);
    CHECK_FALSE(transport->send_signal(SIGTERM));
  });
}

TEST_CASE_METHOD(Subprocesses, "no fiber is needed: the Future's callback has the transport and the protocol") {
  std::shared_ptr<ProcessRecorder> child;
  auto starting =
      loop().subprocess_exec([] { return std::make_shared<ProcessRecorder>(); }, {"echo", "hello"}, {.stdout_ = PIPE});
  starting.add_done_callback([&](Future<Subprocess<ProcessRecorder>> started) {
    child = started.result().protocol;
    child->lost.add_done_callback([&](Future<>) { loop().stop(); });
  });
  loop().run_forever();
  CHECK(child->received[1] == "hello\n");
}

TEST_CASE_METHOD(Subprocesses, "a child without pipes is lost when it has ended") {
  run([&] {
    auto child = exec({"true"});
    CHECK(child->transport->get_pipe_transport(0) == nullptr);
    CHECK(child->transport->get_pipe_transport(1) == nullptr);
    CHECK(child->transport->get_pipe_transport(7) == nullptr);
    await(child->lost);
    CHECK(child->trace == Trace{"made", "exited", "lost"});
  });
}

TEST_CASE_METHOD(Subprocesses, "a program that is not there is an error before there is a transport, by its name") {
  run([&] {
    const auto made = std::make_shared<int>(0);
    const auto failure_of = [&](std::vector<std::string> args, const SubprocessOptions& options = {}) {
      try {
        exec(std::move(args), options);
      } catch (const OsError& error) {
        return std::string(error.what());
      }
      return std::string("started");
    };
    CHECK(failure_of({"nosuch-program"}) == "execve nosuch-program: No such file or directory");
    CHECK(failure_of({"/nosuch/program"}) == "execve /nosuch/program: No such file or directory");
    CHECK(failure_of({""}) == "execve : No such file or directory");
    CHECK(failure_of({"/etc/passwd"}) == "execve /etc/passwd: Permission denied");
    CHECK(failure_of({"/"}) == "execve /: Permission denied");
    CHECK(failure_of({"/etc/passwd/program"}) == "execve /etc/passwd/program: Not a directory");
    CHECK(failure_of({"true"}, {.cwd = "/nosuch"}) == "chdir /nosuch: No such file or directory");
    CHECK(failure_of({"true"}, {.stdout_ = 999}) == "descriptor 999 for true: Bad file descriptor");
    CHECK(failure_of({"true"}, {.pass_fds = {{999, 4}}}) == "descriptor 999 for true: Bad file descriptor");
    CHECK(failure_of({"true"}, {.user = "nosuch-user"}) == "there is no user nosuch-user: Invalid argument");
    CHECK(failure_of({"true"}, {.group = "nosuch-group"}) == "there is no group nosuch-group: Invalid argument");
    CHECK(failure_of({"true", std::string(1 << 20, 'x')}) == "execve true: Argument list too long");
  });
}

TEST_CASE_METHOD(Subprocesses, "two hundred starts that fail leave nothing behind") {
  run([&] {
    for (int i = 0; i < 200; ++i)
      CHECK_THROWS_AS(exec({"nosuch-program"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE}), OsError);
  });
}

TEST_CASE_METHOD(Subprocesses, "what cannot be meant is refused at once") {
  const auto start = [&](std::vector<std::string> args, const SubprocessOptions& options) {
    loop().subprocess_exec([] { return std::make_shared<ProcessRecorder>(); }, std::move(args), options);
  };
  const std::string with_nul("a\0b", 3);
  CHECK_THROWS_AS(start({}, {}), std::invalid_argument);
  CHECK_THROWS_AS(start({with_nul}, {}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true", with_nul}, {}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.cwd = with_nul}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.executable = with_nul}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.env_changes = {{"A=B", "c"}}}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.env = std::map<std::string, std::string>{{"", "c"}}}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.stdin_ = -17}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.stdout_ = STDOUT}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.pass_fds = {-1}}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.pass_fds = {{5, 2}}}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.pass_fds = {{5, 7}, {6, 7}}}), std::invalid_argument);
  CHECK_THROWS_AS(start({"true"}, {.stdin_ = PIPE, .stdout_ = PIPE, .pty = Pty{}}), std::invalid_argument);
}

TEST_CASE_METHOD(Subprocesses, "a factory that throws or returns null starts nothing") {
  run([&] {
    CHECK_THROWS_AS(await(loop().subprocess_exec([] { return std::shared_ptr<ProcessRecorder>(); }, {"true"})),
                    std::invalid_argument);
  });
}

TEST_CASE_METHOD(Subprocesses, "a start that is cancelled at once starts nothing; later it is too late") {
  run([&] {
    auto child = std::make_shared<ProcessRecorder>();
    auto starting = loop().subprocess_exec([&] { return child; }, {"true"});
    starting.cancel();
    let_others_run(3);
    CHECK(starting.cancelled());
    CHECK(child->trace.empty());
    auto begun = loop().subprocess_exec([&] { return child; }, {"true"});
    let_others_run(1);
    begun.cancel();
    await(child->lost);
    CHECK(begun.done());
    CHECK_FALSE(begun.cancelled());
  });
}

TEST_CASE_METHOD(Subprocesses, "the return code is the exit code, or the negative number of the signal") {
  run([&] {
    const auto end_of = [&](const std::string& command) {
      auto child = shell(command);
      const auto transport = child->transport;
      await(child->lost);
      return transport->get_returncode();
    };
    CHECK(end_of("exit 0") == 0);
    CHECK(end_of("exit 255") == 255);
    CHECK(end_of("kill -9 $$") == -SIGKILL);
    CHECK(end_of("kill -TERM $$") == -SIGTERM);
  });
}

TEST_CASE_METHOD(Subprocesses, "terminate(), kill() and send_signal() reach the child") {
  run([&] {
    const auto end_after = [&](auto act) {
      auto child = exec({"sleep", "1000"});
      const auto transport = child->transport;
      CHECK(act(*transport));
      await(child->lost);
      return transport->get_returncode();
    };
    CHECK(end_after([](SubprocessTransport& t) { return t.terminate(); }) == -SIGTERM);
    CHECK(end_after([](SubprocessTransport& t) { return t.kill(); }) == -SIGKILL);
    CHECK(end_after([](SubprocessTransport& t) { return t.send_signal(SIGUSR1); }) == -SIGUSR1);
  });
}

TEST_CASE_METHOD(Subprocesses, "a signal that does not exist is an error, and hits nobody") {
  run([&] {
    auto child = exec({"sleep", "1000"}, {.start_new_session = true});
    CHECK_THROWS_AS(child->transport->send_signal(999), OsError);
    CHECK_THROWS_AS(child->transport->send_signal_to_group(999), OsError);
    CHECK(child->transport->kill());
    await(child->lost);
  });
}

TEST_CASE_METHOD(Subprocesses, "a child that stops and goes on has not exited") {
  run([&] {
    auto child = exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    const auto transport = child->transport;
    CHECK(transport->send_signal(SIGSTOP));
    wait_for_state(transport->get_pid(), 'T');
    let_others_run(5);
    CHECK_FALSE(transport->get_returncode());
    CHECK(transport->send_signal(SIGCONT));
    transport->get_pipe_transport(0)->write("on");
    transport->get_pipe_transport(0)->close();
    await(child->lost);
    CHECK(transport->get_returncode() == 0);
    CHECK(child->received[1] == "on");
  });
}

TEST_CASE_METHOD(Subprocesses, "close() kills a child that runs, and closes the pipes; twice is once") {
  run([&] {
    auto child = exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    const auto transport = child->transport;
    transport->close();
    CHECK(transport->is_closing());
    transport->close();
    await(child->lost);
    CHECK(transport->get_returncode() == -SIGKILL);
    transport->close();
  });
}

TEST_CASE_METHOD(Subprocesses, "close() does not change how a child has ended") {
  run([&] {
    auto child = shell("exit 7");
    const auto transport = child->transport;
    await(child->lost);
    transport->close();
    CHECK(transport->get_returncode() == 7);
  });
}

TEST_CASE_METHOD(Subprocesses, "a child that closes its stdin early ends that pipe with what could not be sent") {
  run([&] {
    auto child = shell("exec <&-; echo closed; exec sleep 1000", {.stdin_ = PIPE, .stdout_ = PIPE});
    while (child->received[1].empty()) sleep(0s);
    const auto input = child->transport->get_pipe_transport(0);
    input->write(std::string(1 << 20, 'x'));
    while (!child->has("pipe 0 lost") && child->trace.size() < 2) sleep(0s);
    CHECK_THAT(child->trace[1], Catch::StartsWith("pipe 0 lost"));
    child->transport->kill();
    await(child->lost);
  });
}

TEST_CASE_METHOD(Subprocesses, "a grandchild that holds a pipe keeps the transport, not the news of the exit") {
  run([&] {
    auto child = shell("sleep 1000 & echo $!", {.stdout_ = PIPE, .process_group = 0});
    const auto transport = child->transport;
    while (!child->has("exited") || child->received[1].find('\n') == std::string::npos) sleep(0s);
    CHECK(transport->get_returncode() == 0);
    let_others_run(5);
    CHECK_FALSE(child->lost.done());
    transport->close();
    await(child->lost);
    CHECK(::kill(std::stoi(child->received[1]), SIGKILL) == 0);
  });
}

TEST_CASE_METHOD(Subprocesses, "connection_made that throws is reported, and kills the child") {
  struct Thrower final : SubprocessProtocol {
    void connection_made(std::shared_ptr<SubprocessTransport>) override { throw std::runtime_error("no"); }
    void connection_lost(std::exception_ptr) override { lost.set_result(); }
    Future<> lost;
  };
  run([&] {
    auto [transport, protocol] =
        await(loop().subprocess_exec([] { return std::make_shared<Thrower>(); }, {"sleep", "1000"}));
    await(protocol->lost);
    CHECK(transport->get_returncode() == -SIGKILL);
  });
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(Subprocesses, "stdin's pipe pauses and resumes its protocol") {
  struct Pausing final : SubprocessProtocol {
    void pause_writing() override { trace.push_back("pause"); }
    void resume_writing() override { trace.push_back("resume"); }
    void pipe_data_received(int, std::string_view data) override { received += data.size(); }
    void connection_lost(std::exception_ptr) override { lost.set_result(); }
    Trace trace;
    std::size_t received = 0;
    Future<> lost;
  };
  run([&] {
    auto [transport, protocol] = await(
        loop().subprocess_exec([] { return std::make_shared<Pausing>(); }, {"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE}));
    transport->get_pipe_transport(0)->write(std::string(1 << 20, 'x'));
    CHECK(protocol->trace == Trace{"pause"});
    transport->get_pipe_transport(0)->write_eof();
    await(protocol->lost);
    CHECK(protocol->trace == Trace{"pause", "resume"});
    CHECK(protocol->received == 1 << 20);
  });
}

TEST_CASE_METHOD(Subprocesses, "when the loop closes, children are killed and reaped, and connection_lost comes") {
  std::shared_ptr<ProcessRecorder> child;
  pid_t pid = -1;
  run([&] {
    child = exec({"sleep", "1000"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    pid = child->transport->get_pid();
  });
  loop().close();
  CHECK(child->trace.back() == "lost");
  CHECK(::kill(pid, 0) == -1);
}

TEST_CASE_METHOD(Subprocesses, "a hundred children that end together are each told of once") {
  run([&] {
    std::vector<std::shared_ptr<ProcessRecorder>> children;
    std::vector<std::shared_ptr<SubprocessTransport>> transports;
    for (int i = 0; i < 100; ++i) {
      children.push_back(exec({"sh", "-c", "read line; exit " + std::to_string(i)}, {.stdin_ = PIPE}));
      transports.push_back(children.back()->transport);
    }
    for (const auto& transport : transports) transport->get_pipe_transport(0)->close();
    for (int i = 0; i < 100; ++i) {
      await(children[static_cast<std::size_t>(i)]->lost);
      CHECK(transports[static_cast<std::size_t>(i)]->get_returncode() == i);
      CHECK(children[static_cast<std::size_t>(i)]->has("exited"));
    }
  });
}

TEST_CASE_METHOD(Subprocesses, "children of others are left alone") {
  const pid_t other = ::fork();
  if (other == 0) ::_exit(42);
  run([&] {
    for (int i = 0; i < 3; ++i) await(exec({"true"})->lost);
  });
  int status = 0;
  CHECK(::waitpid(other, &status, 0) == other);
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE_METHOD(Subprocesses, "a child that somebody else has reaped ended with 255, and that is said") {
  run([&] {
    auto child = exec({"sleep", "1000"});
    const auto transport = child->transport;
    ::kill(transport->get_pid(), SIGKILL);
    int status = 0;
    CHECK(::waitpid(transport->get_pid(), &status, 0) == transport->get_pid());
    CHECK_FALSE(transport->send_signal(SIGTERM));
    await(child->lost);
    CHECK(transport->get_returncode() == 255);
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(reports[0].message, Catch::Contains("somebody else"));
}

TEST_CASE_METHOD(Subprocesses, "a program that ignores SIGCHLD hears of the end, but not how it was") {
  if (!has_pidfd()) return;  // else SIGCHLD is watched, and not ignored meanwhile
  const auto former = ::signal(SIGCHLD, SIG_IGN);
  run([&] {
    auto child = shell("exit 3");
    const auto transport = child->transport;
    await(child->lost);
    CHECK(transport->get_returncode() == 255);
  });
  ::signal(SIGCHLD, former);
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(Subprocesses, "a forked copy of this process cannot signal our children") {
  run([&] {
    auto child = exec({"cat"}, {.stdin_ = PIPE});
    const auto transport = child->transport;
    const auto end = run_in_child([&] {
      try {
        transport->kill();
      } catch (const InvalidStateError&) {
        std::_Exit(7);
      }
      std::_Exit(8);
    });
    CHECK(end.exited_with(7));
    transport->get_pipe_transport(0)->close();
    await(child->lost);
    CHECK(transport->get_returncode() == 0);
  });
}
