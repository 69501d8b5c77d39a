// Datagrams that go back to where they came from, with tulp: in a fiber that asks for one after the other, or in a protocol.
//
//   tulp_datagrams [--protocol] PORT      prints "port N"
#include <tulp/tulp.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

namespace {

class Echo : public tulp::DatagramProtocol {
 public:
  void connection_made(std::shared_ptr<tulp::DatagramTransport> transport) override {
    transport_ = std::move(transport);
  }
  void datagram_received(std::string_view data, const tulp::Address& from) override { transport_->sendto(data, from); }

 private:
  std::shared_ptr<tulp::DatagramTransport> transport_;
};

void say_port(const tulp::Address& address) {
  std::printf("port %u\n", static_cast<unsigned>(address.port()));
  std::fflush(stdout);
}

void serve_in_protocol(std::uint16_t port) {
  auto factory = [] { return std::make_shared<Echo>(); };
  auto endpoint =
      tulp::await(tulp::get_event_loop().create_datagram_endpoint(factory, {.local_addr = {"127.0.0.1", port}}));
  say_port(*endpoint.transport->get_extra_info<tulp::Address>("sockname"));
  tulp::sleep(tulp::Duration::max());  // the loop goes on calling the protocol
}

void serve_in_fiber(std::uint16_t port) {
  auto socket = tulp::open_datagram_socket({.local_addr = {"127.0.0.1", port}});
  say_port(socket.get_extra_info<tulp::Address>("sockname").value());
  std::array<char, 65536> buffer;
  for (;;) {
    const auto received = socket.recvfrom_into(buffer);
    socket.sendto(std::string_view(buffer.data(), received.size), received.address);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool in_protocol = argc > 2 && std::string_view(argv[1]) == "--protocol";
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[argc - 1]) : 0);
  return tulp::run_main([=] { in_protocol ? serve_in_protocol(port) : serve_in_fiber(port); });
}
