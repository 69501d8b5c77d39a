#include "net/connect.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <tulp/error.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include "net/happy_eyeballs.hpp"
#include "net/resolver.hpp"
#include "net/socket.hpp"
#include "net/unix_socket.hpp"

namespace tulp::detail {
namespace {

/// One errno: the error has its type and names the addresses.  Several: the type is the last one's, and each is spelled
/// out.
[[noreturn]] void throw_attempts(const std::string& target, const std::vector<ConnectRace::Attempt>& attempts) {
  const ConnectRace::Attempt& last = attempts.back();
  bool is_one_error = true;
  std::string addresses, reasons;
  for (const ConnectRace::Attempt& attempt : attempts) {
    is_one_error = is_one_error && attempt.error == last.error;
    addresses += (addresses.empty() ? "" : ", ") + attempt.address.to_string();
    reasons += (reasons.empty() ? "" : "; ") + attempt.address.to_string() + ": " + std::strerror(attempt.error);
  }
  std::string what = "connect " + target;
  if (!is_one_error)
    what += " (" + reasons + ")";
  else if (attempts.size() > 1 || addresses != target)
    what += " (" + addresses + ")";
  throw_os_error(last.error, what);
}

std::string target_name(const std::string& host, std::uint16_t port) {
  const auto numeric = Address::parse(host, port);
  return numeric ? numeric->to_string() : host + ':' + std::to_string(port);
}

// Both are given the name of the target as a function, for it is only wanted when something has gone wrong.

/// Throws: TimeoutError - options.timeout, for everything that `connect` does.
template <class Name, class F>
std::unique_ptr<ByteStream> within_timeout(const ConnectOptions& options, Name target, F connect) {
  try {
    return with_timeout(options.timeout, connect);
  } catch (const TimeoutError& error) {
    throw TimeoutError("connect " + target() + ": " + error.what());
  }
}

template <class Name>
std::unique_ptr<ByteStream> race(const std::vector<Address>& addresses, Name target, const ConnectOptions& options) {
  TaskControl& me = require_task("connect");
  ConnectRace race(me, addresses, options);
  auto stream = race.run();
  if (stream == nullptr) throw_attempts(target(), race.attempts());
  return stream;
}

std::unique_ptr<ByteStream> connect_to_host(const std::string& host, std::uint16_t port,
                                            const ConnectOptions& options) {
  // getaddrinfo(3) would take it for this machine; it is what a variable holds that nobody has set.
  if (host.empty()) throw ResolveError(EAI_NONAME, "connect to an empty host name");
  const auto target = [&] { return target_name(host, port); };
  const AddressInfoOptions hints{.family = options.family, .type = SOCK_STREAM, .flags = options.flags};
  return within_timeout(options, target, [&] { return race(resolve(host, port, hints), target, options); });
}

std::unique_ptr<ByteStream> use_connected(UniqueFd socket, const ConnectOptions& options) {
  const Address peer = peer_address(socket.get());
  if (peer.family() == AF_UNSPEC) {  // perhaps it was, and was reset
    const int error = pending_error(socket.get());
    throw_os_error(error != 0 ? error : ENOTCONN, "use socket " + std::to_string(socket.get()));
  }
  tune(socket.get(), options);
  return make_stream(require_task("connect").loop(), std::move(socket), peer);
}

}  // namespace

Connect connect_to(std::string host, std::uint16_t port, const ConnectOptions& options) {
  if (options.sock >= 0) {
    if (!host.empty() || port != 0) throw std::invalid_argument("both a host and a socket to connect with");
    return connect_over_socket(options);
  }
  return [host = std::move(host), port, options] { return connect_to_host(host, port, options); };
}

Connect connect_to(const Address& address, const ConnectOptions& options) {
  if (address.family() == AF_UNSPEC) throw std::invalid_argument("no address to connect to");
  if (options.sock >= 0) throw std::invalid_argument("both an address and a socket to connect with");
  if (options.family != AF_UNSPEC && options.family != address.family())
    throw std::invalid_argument(address.to_string() + " is not of the family to connect with");
  if (address.family() != AF_UNIX) {
    return [address, options] {
      const auto target = [&] { return address.to_string(); };
      return within_timeout(options, target, [&] { return race({address}, target, options); });
    };
  }
  if (options.local_addr) throw std::invalid_argument("a connection to a Unix socket has no local_addr");
  return [address, options] {
    return within_timeout(
        options, [&] { return address.to_string(); }, [&] { return connect_unix(address, options); });
  };
}

Connect connect_over_socket(const ConnectOptions& options) {
  if (options.sock < 0) throw std::invalid_argument("neither a host nor a socket to connect with");
  check_socket(options.sock, SOCK_STREAM, "a stream socket");
  return [socket = take_socket(options.sock), options]() mutable { return use_connected(std::move(socket), options); };
}

}  // namespace tulp::detail
