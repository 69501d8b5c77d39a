// Pipes, FIFOs, terminals and standard streams: semantics rows 87, 88 and 94.
#include <tulp/pipe.hpp>
#include <tulp/run.hpp>
#include <tulp/stream.hpp>
#include <tulp/wait.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

struct PipeEnds {
  explicit PipeEnds(int flags = 0) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | flags) == 0);
    reading = UniqueFd(ends[0]);
    writing = UniqueFd(ends[1]);
  }
  UniqueFd reading, writing;
};

/// A terminal whose lines come as they are written.
struct RawPty {
  RawPty() {
    master = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(::grantpt(master.get()) == 0);
    REQUIRE(::unlockpt(master.get()) == 0);
    slave = UniqueFd(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios settings{};
    REQUIRE(::tcgetattr(slave.get(), &settings) == 0);
    ::cfmakeraw(&settings);
    REQUIRE(::tcsetattr(slave.get(), TCSANOW, &settings) == 0);
  }
  UniqueFd master, slave;
};

void put(const UniqueFd& fd, std::string_view text) {
  REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string get(const UniqueFd& fd) {
  std::string text(4096, '\0');
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

struct PipeRecorder final : Protocol {
  explicit PipeRecorder(Trace& t) : trace(t) {}
  void connection_made(std::shared_ptr<Transport> t) override {
    transport = std::move(t);
    trace.push_back("made");
  }
  void data_received(std::string_view data) override { trace.push_back("data " + std::string(data)); }
  bool eof_received() override {
    trace.push_back("eof");
    return true;  // half-open makes no sense for a pipe
  }
  void connection_lost(std::exception_ptr error) override {
    trace.push_back("lost " + (error ? describe(error) : "cleanly"));
    transport = nullptr;
    lost.set_result();
  }
  Trace& trace;
  std::shared_ptr<Transport> transport;
  Future<> lost;
};

}  // namespace

TEST_CASE_METHOD(LoopTest, "connect_read_pipe: made, data, end of file, lost cleanly") {
  PipeEnds pipe;
  Trace trace;
  run([&] {
    const int fd = pipe.reading.get();
    auto [transport, protocol] =
        await(loop().connect_read_pipe([&] { return std::make_shared<PipeRecorder>(trace); }, pipe.reading.release()));
    CHECK(transport->get_extra_info<int>("pipe") == fd);
    CHECK_FALSE(transport->can_write_eof());
    CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
    put(pipe.writing, "hello");
    while (trace.size() < 2) sleep(1ms);
    pipe.writing.reset();
    await(protocol->lost);
  });
  CHECK(trace == Trace{"made", "data hello", "eof", "lost cleanly"});
}

TEST_CASE_METHOD(LoopTest, "a pipe for reading can be paused, and closed before its end") {
  PipeEnds pipe;
  Trace trace;
  run([&] {
    auto [transport, protocol] =
        await(loop().connect_read_pipe([&] { return std::make_shared<PipeRecorder>(trace); }, pipe.reading.release()));
    transport->pause_reading();
    put(pipe.writing, "later");
    let_others_run(5);
    CHECK(trace == Trace{"made"});
    transport->resume_reading();
    while (trace.size() < 2) sleep(1ms);
    transport->close();
    await(protocol->lost);
  });
  CHECK(trace == Trace{"made", "data later", "lost cleanly"});
}

TEST_CASE_METHOD(LoopTest, "the packets of a pipe in packet mode are read one by one, and none waits for the next") {
  PipeEnds pipe(O_DIRECT);
  run([&] {
    StreamReader reader = open_read_pipe(pipe.reading.release());
    auto packets = create_task([&] { return std::vector{reader.read(100), reader.read(100)}; });
    sleep(0s);  // it waits
    put(pipe.writing, "one");
    put(pipe.writing, "two");
    CHECK(with_timeout(10s, [&] { return await(packets); }) == std::vector<std::string>{"one", "two"});
  });
}

TEST_CASE_METHOD(LoopTest, "connect_write_pipe writes, and write_eof() closes it") {
  PipeEnds pipe;
  Trace trace;
  run([&] {
    auto [transport, protocol] =
        await(loop().connect_write_pipe([&] { return std::make_shared<PipeRecorder>(trace); }, pipe.writing.release()));
    CHECK(transport->can_write_eof());
    const std::array<std::string_view, 2> pieces{"a", "b"};
    transport->writelines(pieces);
    CHECK(get(pipe.reading) == "ab");
    transport->write("c");
    transport->write_eof();
    await(protocol->lost);
    CHECK(get(pipe.reading) == "c");
    CHECK(get(pipe.reading).empty());
  });
  CHECK(trace == Trace{"made", "lost cleanly"});
}

TEST_CASE_METHOD(LoopTest,
                 "a pipe that nobody reads any more is lost cleanly if all was written, else with BrokenPipeError") {
  const bool has_more = GENERATE(false, true);
  PipeEnds pipe;
  Trace trace;
  run([&] {
    auto [transport, protocol] =
        await(loop().connect_write_pipe([&] { return std::make_shared<PipeRecorder>(trace); }, pipe.writing.release()));
    if (has_more) transport->write(std::string(1'000'000, 'x'));
    let_others_run(2);
    pipe.reading.reset();
    await(protocol->lost);
  });
  REQUIRE(trace.size() == 2);
  CHECK_THAT(trace[1], has_more ? Catch::Contains("Broken pipe") : Catch::Contains("lost cleanly"));
}

TEST_CASE_METHOD(LoopTest, "only a pipe, a socket or a character device will do; the caller keeps what is refused") {
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const auto factory = [] { return std::make_shared<Protocol>(); };
  CHECK_THROWS_AS(loop().connect_read_pipe(factory, file.get()), std::invalid_argument);
  CHECK_THROWS_AS(loop().connect_write_pipe(factory, -1), std::invalid_argument);
  run([&] { CHECK_THROWS_AS(open_read_pipe(file.get()), std::invalid_argument); });
  CHECK_THROWS_AS(open_read_pipe(file.get()), InvalidStateError);  // no task
  CHECK(::fcntl(file.get(), F_GETFD) >= 0);
}

TEST_CASE_METHOD(LoopTest, "a FIFO and a socket are pipes too") {
  char folder[] = "/tmp/tulp-fifo-XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  UniqueFd both(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  UniqueFd reading(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int sockets[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  run([&] {
    auto from = open_read_pipe(reading.release());
    auto to = open_write_pipe(both.release());
    to.write("through a FIFO\n");
    CHECK(from.readline() == "through a FIFO\n");
    to.close();
    CHECK(from.read().empty());
    auto socket_from = open_read_pipe(sockets[0]);
    auto socket_to = open_write_pipe(sockets[1]);
    socket_to.write("through a socket\n");
    CHECK(socket_from.readline() == "through a socket\n");
    socket_to.close();
    to.wait_closed();
  });
  ::unlink(path.c_str());
  ::rmdir(folder);
}

TEST_CASE_METHOD(LoopTest, "reader and writer of a pipe carry a megabyte in bounded memory, and end with it") {
  PipeEnds pipe;
  run([&] {
    auto writing = create_task([&] {
      auto writer = open_write_pipe(pipe.writing.release());
      std::string block(10'000, 'x');
      for (int i = 0; i < 100; ++i) {
        block[0] = static_cast<char>('a' + i % 26);
        writer.write(block);
        CHECK(writer.transport().get_write_buffer_size() <= 64 * 1024 + block.size());
      }
      writer.close();
      writer.wait_closed();
    });
    auto reader = open_read_pipe(pipe.reading.release());
    std::string received;
    char memory[3000];
    while (const std::size_t count = reader.read_into(memory)) received.append(memory, count);
    await(writing);
    CHECK(received.size() == 1'000'000);
    CHECK(received[10'000] == 'b');
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a writer whose reader has gone throws BrokenPipeError, and SIGPIPE does not end the process") {
  PipeEnds pipe;
  run([&] {
    auto writer = open_write_pipe(pipe.writing.release());
    pipe.reading.reset();
    try {
      for (int i = 0; i < 100; ++i) {
        writer.write("x");
        writer.drain();
        sleep(0s);
      }
      FAIL("should have thrown");
    } catch (const BrokenPipeError&) {
    }
  });
}

TEST_CASE_METHOD(LoopTest, "dropping the reader of a pipe closes it") {
  PipeEnds pipe;
  run([&] {
    { const auto reader = open_read_pipe(pipe.reading.release()); }
    let_others_run(2);
  });
  ::signal(SIGPIPE, SIG_IGN);
  CHECK(::write(pipe.writing.get(), "x", 1) == -1);
}

TEST_CASE_METHOD(LoopTest, "a pseudo-terminal carries both ways, and its slave's closing is the end of file") {
  RawPty pty;
  run([&] {
    auto reader = open_read_pipe(::dup(pty.master.get()));
    auto writer = open_write_pipe(::dup(pty.master.get()));
    put(pty.slave, "from the program\n");
    CHECK(reader.readline() == "from the program\n");
    writer.write("to the program\n");
    writer.drain();
    CHECK(get(pty.slave) == "to the program\n");
    put(pty.slave, "last words");
    pty.slave.reset();
    CHECK(reader.read() == "last words");
    CHECK(reader.at_eof());
    writer.transport().abort();
  });
}

TEST_CASE_METHOD(LoopTest, "/dev/null and /dev/zero are read and written at once") {
  run([&] {
    auto null = open_read_pipe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    CHECK(null.read().empty());
    auto zero = open_read_pipe(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    CHECK(zero.readexactly(100'000) == std::string(100'000, '\0'));
    auto sink = open_write_pipe(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    sink.write(std::string(1'000'000, 'x'));
    sink.close();
    sink.wait_closed();
  });
}

// Standard input and output.

namespace {

/// Standard input is `from` and standard output `to` while it lives.
class Redirected {
 public:
  Redirected(const UniqueFd& from, const UniqueFd& to) {
    std::fflush(stdout);
    for (int fd : {0, 1}) saved_[fd] = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    ::dup2(from.get(), 0);
    ::dup2(to.get(), 1);
  }
  ~Redirected() {
    for (int fd : {0, 1}) ::dup2(saved_[fd].get(), fd);
  }

 private:
  UniqueFd saved_[2];
};

void copy_input_to_output() {
  auto reader = open_stdin();
  auto writer = open_stdout();
  for (std::string line; reader.readline_into(line);) writer.write("<" + line);
  writer.close();
  writer.wait_closed();
}

bool is_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

}  // namespace

TEST_CASE_METHOD(LoopTest, "standard streams that are pipes stay blocking for everybody else") {
  PipeEnds in, out;
  put(in.writing, "one\ntwo\n");
  in.writing.reset();
  {
    const Redirected redirected(in.reading, out.writing);
    run([] { copy_input_to_output(); });
    CHECK(is_blocking(0));
    CHECK(is_blocking(1));
  }
  CHECK(get(out.reading) == "<one\n<two\n");
}

TEST_CASE_METHOD(LoopTest, "standard streams that are files are read and written from where they stand") {
  const UniqueFd in = file_with("skipped\none\ntwo\n"), out = file_with("kept\n");
  ::lseek(in.get(), 8, SEEK_SET);
  ::lseek(out.get(), 5, SEEK_SET);
  {
    const Redirected redirected(in, out);
    run([] { copy_input_to_output(); });
  }
  ::lseek(out.get(), 0, SEEK_SET);
  CHECK(get(out) == "kept\n<one\n<two\n");
  CHECK(::lseek(in.get(), 0, SEEK_CUR) == 16);
}

TEST_CASE_METHOD(LoopTest, "standard streams that are a terminal stay blocking for everybody else") {
  RawPty pty;
  {
    const Redirected redirected(pty.slave, pty.slave);
    put(pty.master, "typed\n");
    run([&] {
      auto reader = open_stdin();
      auto writer = open_stdout();
      writer.write("you have " + reader.readline());
      writer.close();
      writer.wait_closed();
    });
    CHECK(is_blocking(0));
  }
  CHECK(get(pty.master) == "you have typed\n");
}
