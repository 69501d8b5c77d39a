// tulp's Transport/Protocol in the echo comparison: callbacks only, no fiber anywhere.
//
//   tulp_echo_protocol PORT      prints "port N"
#include <sys/socket.h>
#include <tulp/tulp.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

namespace {

class Echo : public tulp::Protocol {
 public:
  void connection_made(std::shared_ptr<tulp::Transport> transport) override { transport_ = std::move(transport); }
  void data_received(std::string_view data) override { transport_->write(data); }
  void pause_writing() override { transport_->pause_reading(); }
  void resume_writing() override { transport_->resume_reading(); }

 private:
  std::shared_ptr<tulp::Transport> transport_;
};

}  // namespace

int main(int argc, char** argv) {
  auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  std::function<std::shared_ptr<Echo>()> factory = [] { return std::make_shared<Echo>(); };
  tulp::EventLoop& loop = tulp::get_event_loop();
  tulp::Server server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", port, {.backlog = SOMAXCONN}));
  std::printf("port %u\n", static_cast<unsigned>(server.addresses().front().port()));
  std::fflush(stdout);
  loop.run_forever();
}
