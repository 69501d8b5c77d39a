#include <tulp/asio/event_loop.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <utility>

#include "hosts/driver.hpp"

namespace tulp::test {
namespace {

class AsioDriver final : public Driver {
 public:
  std::unique_ptr<EventLoop> new_event_loop(LoopOptions options) override {
    return asio::new_event_loop(context_, options);
  }
  bool is_host_of(EventLoop& loop) override { return &asio::host_of(loop) == &context_; }
  void run() override {
    context_.run();
    context_.restart();
  }
  void stop() override { context_.stop(); }

  void call_later(std::chrono::milliseconds delay, std::function<void()> function) override {
    auto timer = std::make_shared<boost::asio::steady_timer>(context_, delay);
    timer->async_wait([timer, function = std::move(function)](const boost::system::error_code&) { function(); });
  }
  void call_again(std::function<bool()> function) override {
    boost::asio::post(context_, [this, function = std::move(function)]() mutable {
      if (function()) call_again(std::move(function));
    });
  }

 private:
  boost::asio::io_context context_;
};

}  // namespace

std::unique_ptr<Driver> make_asio_driver() { return std::make_unique<AsioDriver>(); }

}  // namespace tulp::test
