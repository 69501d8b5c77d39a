// The other end of datagrams in plain sockets, and the fixture of the tests of datagrams.
#pragma once
#include <tulp/datagram_socket.hpp>
#include <tulp/datagram_transport.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/socket.hpp"
#include "support/net.hpp"

namespace tulp::test {

/// A socket for datagrams that knows nothing of tulp.
class DatagramPeer {
 public:
  explicit DatagramPeer(const std::string& host = "127.0.0.1") : DatagramPeer(*Address::parse(host, 0)) {}
  explicit DatagramPeer(const Address& local)
      : fd_(::socket(local.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    REQUIRE(fd_ >= 0);
    REQUIRE(::bind(fd_, local.data(), local.size()) == 0);
  }
  DatagramPeer(const DatagramPeer&) = delete;
  DatagramPeer& operator=(const DatagramPeer&) = delete;
  ~DatagramPeer() { close(); }

  int fd() const { return fd_; }
  Address address() const { return detail::local_address(fd_); }
  std::uint16_t port() const { return address().port(); }
  void send(std::string_view data, const Address& to) const {
    REQUIRE(::sendto(fd_, data.data(), data.size(), 0, to.data(), to.size()) == static_cast<ssize_t>(data.size()));
  }
  /// What is there, without waiting.
  std::optional<Datagram> receive() const {
    static char buffer[2'000'000];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t got = ::recvfrom(fd_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return std::nullopt;
    return Datagram{std::string(buffer, static_cast<std::size_t>(got)),
                    Address(reinterpret_cast<const sockaddr*>(&from), size)};
  }
  /// The data of everything that is there.
  std::vector<std::string> receive_all() const {
    std::vector<std::string> all;
    while (auto datagram = receive()) all.push_back(std::move(datagram->data));
    return all;
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

/// An abstract Unix address that nobody else uses.
inline Address unused_unix_address() {
  static int number = 0;
  return Address::unix_path(std::string(1, '\0') + "tulp-test-" + std::to_string(::getpid()) + '-' +
                            std::to_string(++number));
}

/// Says what a protocol hears, and does what the test wants at each call.
class DatagramRecorder : public DatagramProtocol {
 public:
  void connection_made(std::shared_ptr<DatagramTransport> made) override {
    trace.push_back("made");
    transport = std::move(made);
    if (on_made) on_made();
  }
  void datagram_received(std::string_view data, const Address& from) override {
    trace.push_back("datagram");
    received.push_back({std::string(data), from});
    if (on_datagram) on_datagram(data, from);
  }
  void error_received(std::exception_ptr error) override {
    trace.push_back("error");
    errors.push_back(error);
    if (on_error) on_error();
  }
  void pause_writing() override { trace.push_back("pause"); }
  void resume_writing() override { trace.push_back("resume"); }
  void connection_lost(std::exception_ptr error) override {
    trace.push_back("lost");
    lost_with = error;
    ++lost_calls;
    transport = nullptr;
  }

  bool is_lost() const { return lost_calls > 0; }
  std::vector<std::string> data() const {
    std::vector<std::string> all;
    for (const Datagram& datagram : received) all.push_back(datagram.data);
    return all;
  }

  Trace trace;
  std::vector<Datagram> received;
  std::vector<std::exception_ptr> errors;
  int lost_calls = 0;
  std::exception_ptr lost_with;
  std::shared_ptr<DatagramTransport> transport;
  std::function<void()> on_made, on_error;
  std::function<void(std::string_view, const Address&)> on_datagram;
};

inline Address address_of(const DatagramTransport& transport) { return *transport.get_extra_info<Address>("sockname"); }
inline Address address_of(const DatagramSocket& socket) { return *socket.get_extra_info<Address>("sockname"); }

class DatagramTest : public NetTest {
 public:
  DatagramTest() = default;
  explicit DatagramTest(LoopKind kind) : NetTest(kind) {}

  /// Opens an endpoint for `protocol`, with no fiber in the test.
  template <class P>
  std::shared_ptr<DatagramTransport> open(std::shared_ptr<P> protocol, DatagramOptions options) {
    auto opening = loop().create_datagram_endpoint([protocol] { return protocol; }, options);
    return loop().run_until_complete(opening).transport;
  }
  /// Closes what `open` gave, and lets it end.
  void end(const std::shared_ptr<DatagramTransport>& transport) {
    transport->close();
    settle();
  }
};

/// Where a socket of either family of IP listens.
inline const char* any_loopback() { return GENERATE("127.0.0.1", "::1"); }

}  // namespace tulp::test
