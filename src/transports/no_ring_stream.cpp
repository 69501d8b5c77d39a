// Where liburing is not there.
#include <utility>

#include "transports/socket_stream.hpp"

namespace tulp::detail {

std::unique_ptr<ByteStream> make_stream(EventLoop& loop, UniqueFd socket, const Address& peer) {
  return std::make_unique<SocketStream>(loop, std::move(socket), peer);
}
std::unique_ptr<ByteStream> make_stream(EventLoop&, std::unique_ptr<SocketStream> connected) { return connected; }

}  // namespace tulp::detail
