// The other end of a connection in plain sockets, and the fixture of the tests of connections.
#pragma once
#include <tulp/error.hpp>
#include <tulp/protocol.hpp>
#include <tulp/stream.hpp>
#include <tulp/transport.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/sys.hpp"
#include "support/catch.hpp"
#include "support/loops.hpp"

namespace tulp::test {

inline sockaddr_in loopback_address(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// A connected socket that knows nothing of tulp, for the other end of a connection.
class Peer {
 public:
  Peer() = default;
  explicit Peer(int fd) : fd_(fd) {
    const timeval limit{.tv_sec = 10, .tv_usec = 0};  // a broken test ends
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  static Peer connect(std::uint16_t port, int receive_buffer_bytes = 0) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    if (receive_buffer_bytes != 0)
      ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    const sockaddr_in address = loopback_address(port);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return Peer(fd);
  }
  Peer(Peer&& other) noexcept { *this = std::move(other); }
  Peer& operator=(Peer&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(received, other.received);
    std::swap(has_ended, other.has_ended);
    std::swap(error, other.error);
    return *this;
  }
  ~Peer() { close(); }

  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void send(std::string_view data) const {
    while (!data.empty()) {
      const ssize_t sent = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      REQUIRE(sent > 0);
      data.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// Takes what is there, without waiting, into `received`, `has_ended` and `error`; at most `limit` bytes.
  const std::string& collect(std::size_t limit = static_cast<std::size_t>(-1)) {
    static char buffer[256 * 1024];
    while (!has_ended && error == 0 && limit > 0) {
      const ssize_t got = ::recv(fd_, buffer, std::min(limit, sizeof buffer), MSG_DONTWAIT);
      if (got > 0) {
        received.append(buffer, static_cast<std::size_t>(got));
        limit -= static_cast<std::size_t>(got);
      } else if (got == 0) {
        has_ended = true;
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else {
        error = errno;
      }
    }
    return received;
  }
  bool is_over() {
    collect();
    return has_ended || error != 0;
  }
  void half_close() const { CHECK(::shutdown(fd_, SHUT_WR) == 0); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Ends the connection with a reset.
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }

  std::string received;
  bool has_ended = false;
  int error = 0;

 private:
  int fd_ = -1;
};

/// A listening socket on a port of the system's choice.
class PlainListener {
 public:
  explicit PlainListener(int receive_buffer_bytes = 0, int backlog = 128)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback_address(0);
    socklen_t size = sizeof address;
    if (receive_buffer_bytes != 0)
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd_, backlog) == 0);
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  PlainListener(const PlainListener&) = delete;
  PlainListener& operator=(const PlainListener&) = delete;
  ~PlainListener() { close(); }

  std::uint16_t port() const { return port_; }
  int fd() const { return fd_; }
  Peer accept() const {
    pollfd waiting{fd_, POLLIN, 0};
    REQUIRE(::poll(&waiting, 1, 10'000) == 1);
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    REQUIRE(fd >= 0);
    return Peer(fd);
  }
  /// In a task: one that the loop is dialling, which takes a turn of it.
  Peer accept_from_loop() const {
    pollfd waiting{fd_, POLLIN, 0};
    while (::poll(&waiting, 1, 0) == 0) sleep(0s);
    return accept();
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

/// A port of 127.0.0.1 on which nobody listens, and which nobody else gets meanwhile.
class ClosedPort {
 public:
  ClosedPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback_address(0);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ClosedPort(const ClosedPort&) = delete;
  ClosedPort& operator=(const ClosedPort&) = delete;
  ~ClosedPort() { ::close(fd_); }
  std::uint16_t port() const { return port_; }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

/// The table of system calls is as it was when this dies.
class PatchedSystem {
 public:
  PatchedSystem() = default;
  PatchedSystem(const PatchedSystem&) = delete;
  PatchedSystem& operator=(const PatchedSystem&) = delete;
  ~PatchedSystem() { restore(); }
  void restore() { sys = original_; }

 private:
  SystemCalls original_ = sys;
};

/// A test that hangs says its name, and ends.
class Watchdog {
 public:
  explicit Watchdog(unsigned seconds) {
    ::signal(SIGALRM, [](int) {
      static constexpr std::string_view text = "\nThis test hangs: ";
      const std::string name = Catch::getResultCapture().getCurrentTestName();
      [[maybe_unused]] ssize_t result = ::write(2, text.data(), text.size());
      result = ::write(2, name.data(), name.size());
      result = ::write(2, "\n", 1);
      ::_exit(124);
    });
    ::alarm(seconds);
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    ::alarm(0);
    ::signal(SIGALRM, SIG_DFL);
  }
};

/// Says what a protocol hears, and does what the test wants at each call.
class Recorder : public Protocol {
 public:
  void connection_made(std::shared_ptr<Transport> made) override {
    trace.push_back("made");
    transport = std::move(made);
    if (on_made) on_made();
  }
  void data_received(std::string_view data) override {
    if (trace.empty() || trace.back() != "data") trace.push_back("data");
    ++data_calls;
    CHECK_FALSE(data.empty());
    received += data;
    if (on_data) on_data(data);
  }
  bool eof_received() override {
    trace.push_back("eof");
    if (on_eof) on_eof();
    return keeps_writing;
  }
  void pause_writing() override {
    trace.push_back("pause");
    if (on_pause) on_pause();
  }
  void resume_writing() override {
    trace.push_back("resume");
    if (on_resume) on_resume();
  }
  void connection_lost(std::exception_ptr error) override {
    trace.push_back("lost");
    lost_with = error;
    ++lost_calls;
    if (on_lost) on_lost();
    transport = nullptr;
  }

  bool is_lost() const { return lost_calls > 0; }

  Trace trace;  // data calls in a row stand there once
  std::string received;
  int data_calls = 0;
  int lost_calls = 0;
  bool keeps_writing = false;
  std::exception_ptr lost_with;
  std::shared_ptr<Transport> transport;
  std::function<void()> on_made, on_eof, on_pause, on_resume, on_lost;
  std::function<void(std::string_view)> on_data;
};

/// errno of the OsError, 0 for null, -1 for anything else.
inline int errno_of(const std::exception_ptr& error) {
  if (!error) return 0;
  try {
    std::rethrow_exception(error);
  } catch (const OsError& e) {
    return e.code().value();
  } catch (...) {
    return -1;
  }
}

/// errno of the OsError that `call` throws; 0 if nothing was thrown.
template <class Call>
int errno_thrown_by(Call call) {
  try {
    call();
  } catch (const OsError& error) {
    return error.code().value();
  }
  return 0;
}

/// what() of what `call` throws.
template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// As LoopTest, with connections.  The process ends if a test hangs.
class NetTest : public LoopTest {
 public:
  NetTest() = default;
  using LoopTest::LoopTest;

  /// Runs the loop until `done()`.
  template <class Done>
  void until(Done done) {
    const auto limit = std::chrono::steady_clock::now() + 20s;
    for (int turns = 1; !done(); ++turns) {
      if (std::chrono::steady_clock::now() > limit) FAIL("it did not happen within 20 seconds");
      run_once();
      if (is_test_loop() && turns % 100 == 0) testing::advance_time(loop(), 10ms);  // else its time stands still
    }
  }
  /// Runs the loop long enough for everything that is under way on loopback to arrive.
  void settle() {
    for (int i = 0; i < (is_test_loop() ? 200 : 20); ++i) run_once();
  }

  /// Connects `protocol` to a plain socket, with no fiber in the test.
  template <class P>
  Peer connect(std::shared_ptr<P> protocol, int receive_buffer_bytes = 0) {
    const PlainListener listener(receive_buffer_bytes);
    auto connecting = loop().create_connection([protocol] { return protocol; }, "127.0.0.1", listener.port());
    loop().run_until_complete(connecting);
    return listener.accept();
  }

 private:
  Watchdog watchdog_{60};
};

/// One that looks at the system calls.
class CallingNetTest : public NetTest {
 public:
  CallingNetTest() : NetTest(GENERATE(from_range(kinds()))) {}
  using NetTest::NetTest;
  static std::vector<LoopKind> kinds() { return calling_loop_kinds(); }
};

/// Both ends of a stream: tulp's, and a plain socket.  For use in a task.
struct StreamAndPeer {
  StreamReader reader;
  StreamWriter writer;
  Peer peer;
};
inline StreamAndPeer open_stream(ConnectOptions options = {}, int receive_buffer_bytes = 0) {
  const PlainListener listener(receive_buffer_bytes);
  Streams streams = open_connection("127.0.0.1", listener.port(), std::move(options));
  return {std::move(streams.reader), std::move(streams.writer), listener.accept()};
}

/// `size` bytes of which no two neighbouring stretches look alike.
inline std::string pattern(std::size_t size, std::uint64_t seed = 1) {
  std::string bytes(size + sizeof seed, '\0');
  for (char* at = bytes.data(); at < bytes.data() + size; at += sizeof seed) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    const std::uint64_t piece = seed ^ seed >> 32;  // the lower half alone would soon repeat itself
    std::memcpy(at, &piece, sizeof piece);
  }
  bytes.resize(size);
  return bytes;
}

/// For big contents: a failure does not print them.
inline bool same(std::string_view a, std::string_view b) { return a == b; }

/// A factory of such protocols.
inline auto recorder() {
  return [] { return std::make_shared<Recorder>(); };
}

/// A server's side of a connection.
inline void echo(StreamReader reader, StreamWriter writer) {
  for (std::string data = reader.read(64 * 1024); !data.empty(); data = reader.read(64 * 1024)) writer.write(data);
}

}  // namespace tulp::test
