// You learn: the same server without fibers: a transport calls a protocol when something has happened.
#include <tulp/tulp.hpp>

#include <iostream>
#include <memory>
#include <string_view>
#include <utility>

class Echo : public tulp::Protocol {
 public:
  void connection_made(std::shared_ptr<tulp::Transport> transport) override { transport_ = std::move(transport); }
  void data_received(std::string_view data) override { transport_->write(data); }
  void pause_writing() override { transport_->pause_reading(); }  // the peer does not read what it is sent
  void resume_writing() override { transport_->resume_reading(); }

 private:
  std::shared_ptr<tulp::Transport> transport_;
};

int main() {
  tulp::EventLoop& loop = tulp::get_event_loop();
  auto factory = [] { return std::make_shared<Echo>(); };
  tulp::Server server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0));
  std::cout << "listening on " << server.addresses().front() << std::endl;
  loop.run_forever();
}
