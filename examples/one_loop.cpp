// You learn: many frameworks on one loop.  A timer of libuv's, a socket of Boost.Asio's, a Transport with its Protocol, a
// coroutine and a fiber talk to each other in one thread, which waits in one place.
//
//   Boost.Asio, which waits  <-- tulp's loop runs in its io_context <-- libuv's loop runs in tulp's
#include <tulp/asio/event_loop.hpp>
#include <tulp/asio/use_future.hpp>
#include <tulp/tulp.hpp>

#include <uv.h>
#include <boost/asio.hpp>

#include <cctype>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace {

using boost::asio::ip::tcp;

/// libuv as a guest of tulp's loop.  Call turn() after something has been started in it.
class UvGuest {
 public:
  UvGuest(tulp::EventLoop& loop, uv_loop_t* guest) : loop_(loop), guest_(guest) {
    loop_.add_reader(::uv_backend_fd(guest_), [this] { turn(); });
  }
  UvGuest(const UvGuest&) = delete;
  UvGuest& operator=(const UvGuest&) = delete;
  ~UvGuest() {
    loop_.remove_reader(::uv_backend_fd(guest_));
    timer_.cancel();
  }

  void turn() {
    ::uv_run(guest_, UV_RUN_NOWAIT);
    timer_.cancel();
    if (const int milliseconds = ::uv_backend_timeout(guest_); milliseconds >= 0)
      timer_ = loop_.call_later(std::chrono::milliseconds(milliseconds), [this] { turn(); });
  }

 private:
  tulp::EventLoop& loop_;
  uv_loop_t* guest_;
  tulp::TimerHandle timer_;
};

/// A timer of libuv's, which puts its ticks into a queue of tulp's.
class Ticker {
 public:
  Ticker(uv_loop_t* loop, tulp::Queue<int>& ticks) : ticks_(ticks) {
    ::uv_timer_init(loop, &timer_);
    timer_.data = this;
    ::uv_timer_start(
        &timer_, [](uv_timer_t* timer) { static_cast<Ticker*>(timer->data)->tick(); }, 10, 10);
  }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker() { ::uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr); }

 private:
  void tick() {
    std::cout << "libuv: tick " << ++count_ << std::endl;
    ticks_.put_nowait(count_);
    if (count_ == 3) ::uv_timer_stop(&timer_);
  }

  uv_timer_t timer_;
  tulp::Queue<int>& ticks_;
  int count_ = 0;
};

/// The server: callbacks, with a Transport to answer by.
class Shout final : public tulp::Protocol {
 public:
  void connection_made(std::shared_ptr<tulp::Transport> transport) override { transport_ = std::move(transport); }
  void data_received(std::string_view data) override {
    std::string answer(data);
    for (char& letter : answer) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    std::cout << "protocol: " << answer;
    transport_->write(answer);
  }

 private:
  std::shared_ptr<tulp::Transport> transport_;
};

/// The client: a socket of Asio's, whose operations end in Futures, for which a coroutine waits.
class Client {
 public:
  Client(boost::asio::io_context& context, std::uint16_t port) : socket_(context) {
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
  }

  tulp::Future<std::string> ask(std::string question) {
    co_await boost::asio::async_write(socket_, boost::asio::buffer(question), tulp::use_future);
    const std::size_t size =
        co_await boost::asio::async_read_until(socket_, boost::asio::dynamic_buffer(read_), '\n', tulp::use_future);
    std::string answer = read_.substr(0, size - 1);
    read_.erase(0, size);
    std::cout << "coroutine: " << answer << std::endl;
    co_return answer;
  }

 private:
  tcp::socket socket_;
  std::string read_;
};

/// The fiber: in its order, without a callback.
void converse(tulp::EventLoop& loop, boost::asio::io_context& context, uv_loop_t* uv) {
  tulp::Server server = tulp::await(loop.create_server([] { return std::make_shared<Shout>(); }, "127.0.0.1", 0));
  Client client(context, server.addresses().front().port());
  tulp::Queue<int> ticks;
  UvGuest guest(loop, uv);
  {
    const Ticker ticker(uv, ticks);
    guest.turn();
    for (int i = 0; i < 3; ++i) {
      const int tick = ticks.get();
      const std::string answer = tulp::await(client.ask("hello " + std::to_string(tick) + "\n"));
      std::cout << "fiber: " << answer << std::endl;
    }
  }
  guest.turn();    // libuv lets go of the timer
  server.close();  // or there would be something left to do
}

}  // namespace

int main() {
  boost::asio::io_context context;
  uv_loop_t* uv = ::uv_default_loop();
  const auto loop = tulp::asio::new_event_loop(context);
  tulp::set_event_loop(loop.get());
  auto task = tulp::create_task([&] { converse(*loop, context, uv); });
  context.run();  // ends when nobody has anything left to do
  task.result();
  ::uv_loop_close(uv);
  return 0;
}
