// Children on a terminal of their own: semantics row 94.
#include <tulp/subprocess.hpp>

#include <csignal>
#include <string>

#include "support/children.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

class Terminals : public ChildTest {};

}  // namespace

TEST_CASE_METHOD(Terminals, "a child on a pty has a terminal, of the size that was asked for, and its end is an end") {
  run([] {
    Process process = create_subprocess_shell("test -t 0 && test -t 1 && test -t 2 && stty size < /dev/tty; exit 3",
                                              {.pty = Pty{.rows = 31, .columns = 97}});
    CHECK(process.stdout_().readline() == "31 97\r\n");
    CHECK(process.stdout_().read().empty());
    CHECK(process.wait() == 3);
    CHECK_THROWS_AS(process.stderr_(), InvalidStateError);
  });
}

TEST_CASE_METHOD(Terminals, "what is written there is typed: it is echoed, and ^C and ^D mean what they do") {
  run([] {
    Process process = create_subprocess_exec({"cat"}, {.pty = Pty{}});
    process.stdin_().write("hello\n");
    CHECK(process.stdout_().readline() == "hello\r\n");  // the echo
    CHECK(process.stdout_().readline() == "hello\r\n");
    process.stdin_().write("\3");
    CHECK(process.wait() == -SIGINT);
  });
  run([] {
    Process process = create_subprocess_shell("stty -echo; echo ready; cat", {.pty = Pty{}});
    CHECK(process.stdout_().readline() == "ready\r\n");
    const ProcessOutput output = process.communicate("typed\n\4");
    CHECK(output.stdout_ == "typed\r\n");
    CHECK(process.returncode() == 0);
  });
}

TEST_CASE_METHOD(Terminals, "closing the terminal hangs up") {
  run([] {
    Process process = create_subprocess_exec({"sleep", "1000"}, {.pty = Pty{}});
    process.stdin_().close();
    CHECK(process.wait() == -SIGHUP);
  });
}

TEST_CASE_METHOD(Terminals, "standard streams that are asked for otherwise are not on it") {
  run([] {
    Process process = create_subprocess_shell("test -t 0 && test -t 2 && ! test -t 1 && echo piped; echo typed >&2",
                                              {.stdout_ = PIPE, .pty = Pty{}});
    CHECK(process.stdout_().read() == "piped\n");
    CHECK(process.wait() == 0);
  });
  run([] {
    Process process = create_subprocess_shell("cat; test -t 1 && echo shown", {.stdin_ = PIPE, .pty = Pty{}});
    CHECK(process.communicate("fed\n").stdout_ == "fed\r\nshown\r\n");
  });
}

TEST_CASE_METHOD(Terminals,
                 "what a child has written is there when it has ended, however little of it comes at a time") {
  run([] {
    Process process = create_subprocess_shell("seq 20", {.pty = Pty{}});
    const PatchedSystem patched;
    static auto real_read = sys.read;
    real_read = sys.read;
    sys.read = [](int fd, void* data, size_t size) { return real_read(fd, data, size == sizeof(uint64_t) ? size : 3); };
    std::string lines;
    for (int i = 1; i <= 20; ++i) lines += std::to_string(i) + "\r\n";
    CHECK(process.communicate({}, {.eof_grace = 0s}).stdout_ == lines);
  });
}

TEST_CASE_METHOD(Terminals, "for a protocol it is one pipe in both directions") {
  struct Typist final : SubprocessProtocol {
    void pipe_data_received(int fd, std::string_view data) override {
      CHECK(fd == 1);
      received += data;
    }
    void pipe_connection_lost(int fd, std::exception_ptr error) override {
      CHECK(fd == 1);
      CHECK(error == nullptr);
      ++lost_pipe_count;
    }
    void connection_lost(std::exception_ptr) override { lost.set_result(); }
    std::string received;
    int lost_pipe_count = 0;
    Future<> lost;
  };
  run([&] {
    auto [transport, protocol] = await(loop().subprocess_exec(
        [] { return std::make_shared<Typist>(); }, {"sh", "-c", "read line; echo got $line"}, {.pty = Pty{}}));
    CHECK(transport->get_pipe_transport(0) == transport->get_pipe_transport(1));
    CHECK(transport->get_pipe_transport(2) == nullptr);
    transport->get_pipe_transport(0)->write("it\n");
    await(protocol->lost);
    CHECK(protocol->received == "it\r\ngot it\r\n");
    CHECK(protocol->lost_pipe_count == 1);
    CHECK(transport->get_returncode() == 0);
  });
}
