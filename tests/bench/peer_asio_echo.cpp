// Boost.Asio's echo server in callbacks, as its own examples write it: one thread, a session that holds itself.
//
//   peer_asio_echo PORT      prints "port N"
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace asio = boost::asio;
using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, asio::io_context::executor_type>;

namespace {

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(Socket socket) : socket_(std::move(socket)) {}

  void read() {
    socket_.async_read_some(asio::buffer(buffer_), [self = shared_from_this()](auto error, std::size_t size) {
      if (!error) self->write(size);
    });
  }

 private:
  void write(std::size_t size) {
    asio::async_write(socket_, asio::buffer(buffer_, size), [self = shared_from_this()](auto error, std::size_t) {
      if (!error) self->read();
    });
  }

  Socket socket_;
  std::array<char, 65536> buffer_;
};

void accept(Acceptor& acceptor) {
  acceptor.async_accept([&acceptor](auto error, Socket socket) {
    if (!error) {
      boost::system::error_code ignored;
      socket.set_option(asio::ip::tcp::no_delay(true), ignored);
      std::shared_ptr<Session>(new Session(std::move(socket)))->read();  // the buffer is not zeroed
    }
    accept(acceptor);
  });
}

}  // namespace

int main(int argc, char** argv) {
  asio::io_context loop(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  auto port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 0);
  Acceptor acceptor(loop, {asio::ip::address_v4::loopback(), port});
  acceptor.listen();
  std::printf("port %u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
  std::fflush(stdout);
  accept(acceptor);
  loop.run();
}
