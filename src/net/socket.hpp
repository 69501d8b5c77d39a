// Sockets: making them and their options.  Floor 6, net.
#pragma once
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <tulp/address.hpp>
#include <tulp/transport.hpp>

#include <any>
#include <optional>
#include <span>
#include <string_view>

#include "base/sys.hpp"
#include "base/unique_fd.hpp"

namespace tulp::detail {

/// A non-blocking, close-on-exec stream socket.  Throws: OsError.
UniqueFd make_stream_socket(int family, int proto = 0);
/// Throws: std::invalid_argument - `socket` is none, or not one of this type, which `kind` describes.
void check_socket(int socket, int type, const char* kind);
/// Makes a socket that comes from elsewhere non-blocking and close-on-exec.  It has been checked.
UniqueFd take_socket(int socket) noexcept;

void set_option(int socket, int level, int option, int value) noexcept;
/// 0 if the socket does not have it.
int get_option(int socket, int level, int option) noexcept;
/// Sets what ConnectOptions and ServerOptions say of each connection.  Harmless for sockets that are not TCP.
template <class Options>
void tune(int socket, const Options& options) noexcept {
  if (options.nodelay) set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.keep_alive) set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
}
/// Whether tune() would change nothing.
template <class Options>
bool is_tuned(int socket, const Options& options) noexcept {
  return (!options.nodelay || get_option(socket, IPPROTO_TCP, TCP_NODELAY) != 0) &&
         (!options.keep_alive || get_option(socket, SOL_SOCKET, SO_KEEPALIVE) != 0);
}
/// As send(2), which is what one view takes: sendmsg(2) is for several.
inline ssize_t send_views(int socket, std::span<const iovec> views) noexcept {
  if (views.size() == 1) [[likely]]
    return retry_on_eintr([&] { return sys.send(socket, views[0].iov_base, views[0].iov_len, MSG_NOSIGNAL); });
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(views.data());
  message.msg_iovlen = views.size();
  return retry_on_eintr([&] { return sys.sendmsg(socket, &message, MSG_NOSIGNAL); });
}
/// Lets close(2) send a reset instead of what is buffered.
void reset_on_close(int socket) noexcept;
/// Throws: OsError - "bind 127.0.0.1:80: Address already in use".
void bind_socket(int socket, const Address& address);

/// Whether only the connection that was about to be accepted is concerned: accept(2) passes on what befell it.
bool is_of_one_connection(int accept_error) noexcept;
/// Takes the error that the socket has met since it was asked last; 0 for none.
int pending_error(int socket) noexcept;

/// An empty Address if the socket has none.
Address local_address(int socket) noexcept;
Address peer_address(int socket) noexcept;
/// Of a Unix socket; nothing where the system does not tell.
std::optional<PeerCredentials> peer_credentials(int socket) noexcept;

/// If a connection has ended in both directions: the error that ended it, which it takes, or 0.
std::optional<int> look_for_end(int socket) noexcept;
/// What get_extra_info() says of a connection with `peer`; -1 is one that has been closed.
std::any connection_info(int socket, const Address& peer, std::string_view key);

}  // namespace tulp::detail
