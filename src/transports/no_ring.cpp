// Where liburing is not there, and no loop has a ring.
#include <utility>

#include "net/connecting.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {

std::unique_ptr<ByteStream> make_stream(EventLoop& loop, UniqueFd socket, const Address& peer) {
  return std::make_unique<SocketStream>(loop, std::move(socket), peer);
}
std::unique_ptr<Connecting> make_ring_connecting(EventLoop&, UniqueFd, const Address&) { return nullptr; }

}  // namespace tulp::detail
