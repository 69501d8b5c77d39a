// You learn: TCP without fibers, at both ends: a transport calls a protocol when something has happened.
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

using namespace std::chrono_literals;

class EchoServer : public tulp::Protocol {
 public:
  void connection_made(std::shared_ptr<tulp::Transport> transport) override {
    transport_ = std::move(transport);
    restart_clock();
  }
  void data_received(std::string_view data) override {
    transport_->write(data);  // sends what can be sent now, keeps the rest
    restart_clock();
  }
  void pause_writing() override { transport_->pause_reading(); }  // the peer does not read what it is sent
  void resume_writing() override { transport_->resume_reading(); }
  void connection_lost(std::exception_ptr) override { silence_.cancel(); }

 private:
  void restart_clock() {
    silence_.cancel();
    silence_ = tulp::get_event_loop().call_later(5s, [this] { transport_->close(); });
  }

  std::shared_ptr<tulp::Transport> transport_;
  tulp::TimerHandle silence_;
};

class EchoClient : public tulp::Protocol {
 public:
  explicit EchoClient(tulp::Future<> over) : over_(std::move(over)) {}
  void connection_made(std::shared_ptr<tulp::Transport> transport) override {
    transport->write("This is the message. It will be echoed.");
    transport->write_eof();
  }
  void data_received(std::string_view data) override { std::cout << "received: " << data << '\n'; }
  void connection_lost(std::exception_ptr error) override {  // the server has answered all, or something broke
    error ? over_.set_exception(error) : over_.set_result();
  }

 private:
  tulp::Future<> over_;
};

void serve(tulp::EventLoop& loop) {
  auto serving = loop.create_server([] { return std::make_shared<EchoServer>(); }, "127.0.0.1", 0);
  std::cout << "listening on " << loop.run_until_complete(serving).addresses().front() << std::endl;
  loop.run_forever();
}

void ask(tulp::EventLoop& loop, const std::string& host, std::uint16_t port) {
  tulp::Future<> over(loop);
  loop.run_until_complete(loop.create_connection([&] { return std::make_shared<EchoClient>(over); }, host, port));
  loop.run_until_complete(over);
}

int main(int argc, char** argv) try {
  tulp::EventLoop& loop = tulp::get_event_loop();
  if (argc != 3) return serve(loop), 0;
  ask(loop, argv[1], static_cast<std::uint16_t>(std::stoi(argv[2])));
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
