// Boost.Asio's echo server in stackful coroutines, as its own example of spawn() writes it.
//
//   peer_asio_spawn_echo PORT      prints "port N"
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/write.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr std::size_t chunk_bytes = 65536;

void echo(tcp::socket& socket, asio::yield_context yield) {
  auto buffer = std::make_unique_for_overwrite<char[]>(chunk_bytes);
  boost::system::error_code error;
  for (;;) {
    const std::size_t size = socket.async_read_some(asio::buffer(buffer.get(), chunk_bytes), yield[error]);
    if (error) return;
    asio::async_write(socket, asio::buffer(buffer.get(), size), yield[error]);
    if (error) return;
  }
}

void serve(asio::io_context& loop, tcp::acceptor& acceptor, asio::yield_context yield) {
  for (;;) {
    boost::system::error_code error;
    auto socket = std::make_shared<tcp::socket>(loop);
    acceptor.async_accept(*socket, yield[error]);
    if (error) continue;
    socket->set_option(tcp::no_delay(true), error);
    asio::spawn(loop, [socket](asio::yield_context inner) { echo(*socket, inner); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  asio::io_context loop(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  auto port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 0);
  tcp::acceptor acceptor(loop, {asio::ip::address_v4::loopback(), port});
  acceptor.listen();
  std::printf("port %u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
  std::fflush(stdout);
  asio::spawn(loop, [&](asio::yield_context yield) { serve(loop, acceptor, yield); });
  loop.run();
}
