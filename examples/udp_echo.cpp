// You learn: datagrams.  A protocol sends back what comes; a fiber asks again until it hears an answer.
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

class Echo : public tulp::DatagramProtocol {
 public:
  void connection_made(std::shared_ptr<tulp::DatagramTransport> transport) override {
    transport_ = std::move(transport);
  }
  void datagram_received(std::string_view data, const tulp::Address& from) override { transport_->sendto(data, from); }

 private:
  std::shared_ptr<tulp::DatagramTransport> transport_;
};

void serve() {
  auto factory = [] { return std::make_shared<Echo>(); };
  auto endpoint =
      tulp::await(tulp::get_event_loop().create_datagram_endpoint(factory, {.local_addr = {"127.0.0.1", 0}}));
  std::cout << "listening on " << *endpoint.transport->get_extra_info<tulp::Address>("sockname") << std::endl;
  tulp::sleep(tulp::Duration::max());  // the loop goes on calling the protocol
}

void ask(const std::string& host, std::uint16_t port) {
  tulp::DatagramSocket socket = tulp::open_datagram_socket({.remote_addr = {host, port}});
  socket.set_read_timeout(std::chrono::seconds(1));
  for (int attempt = 1; attempt <= 3; ++attempt) {  // the message may be lost, and so may the answer
    try {
      socket.sendto("This is the message.");
      auto [data, address] = socket.recvfrom();  // parks until one comes, or until a second has passed
      std::cout << address << " says: " << data << '\n';
      return;
    } catch (const tulp::TimeoutError& error) {
      std::cerr << error.what() << '\n';
    } catch (const tulp::ConnectionRefusedError& error) {  // nobody is there; the socket stays usable
      std::cerr << error.what() << '\n';
      tulp::sleep(std::chrono::milliseconds(100));
    }
  }
  throw std::runtime_error("no answer");
}

int main(int argc, char** argv) {
  if (argc != 3) return tulp::run_main(serve);
  return tulp::run_main([&] { ask(argv[1], static_cast<std::uint16_t>(std::stoi(argv[2]))); });
}
