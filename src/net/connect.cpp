#include "net/connect.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <tulp/error.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include "net/resolver.hpp"
#include "net/socket.hpp"

namespace tulp::detail {
namespace {

/// Parks until a descriptor is ready in one direction.
class ReadyPark final : public Park {
 public:
  ReadyPark(EventLoop& loop, FdWatch& watch, Direction direction) noexcept
      : loop_(loop), watch_(watch), direction_(direction) {}
  void undo() noexcept override { watch_.disarm(loop_, direction_); }

 private:
  EventLoop& loop_;
  FdWatch& watch_;
  Direction direction_;
};

/// A watch for as long as connect(2) is on its way.  Begun only after the call: a socket that has never been connected
/// reports a hang-up.
class ConnectWatch {
 public:
  ConnectWatch(EventLoop& loop, int socket) : loop_(loop), watch_(socket, FdWatch::Mode::once) { loop_.add_fd(watch_); }
  ConnectWatch(const ConnectWatch&) = delete;
  ConnectWatch& operator=(const ConnectWatch&) = delete;
  ~ConnectWatch() { loop_.remove_fd(watch_); }

  void wait_writable(TaskControl& me) {
    throw_if_cancelled();
    watch_.arm(loop_, Direction::write, me);
    ReadyPark wait(loop_, watch_, Direction::write);
    park(wait);
  }

 private:
  EventLoop& loop_;
  FdWatch watch_;
};

/// 0, or why the connection does not stand.
int finish_connect(int socket, const Address& address) {
  TaskControl& me = require_task("connect");
  const int result = sys.connect(socket, address.data(), address.size());
  if (result != 0 && errno != EINPROGRESS && errno != EINTR) return errno;
  if (result != 0) {
    ConnectWatch watch(me.loop(), socket);
    while (peer_address(socket).family() == AF_UNSPEC) {  // a report of readiness is a hint
      watch.wait_writable(me);
      if (const int error = pending_error(socket)) return error;
    }
  }
  // A port of this machine's own range may be dialled from itself, and then talks to itself.
  const bool is_self = address.family() != AF_UNIX && local_address(socket) == peer_address(socket);
  return is_self ? ECONNREFUSED : 0;
}

struct Attempt {
  Address address;
  int error;
};

/// One errno: the error has its type and names the addresses.  Several: the type is the last one's, and each is spelled
/// out.
[[noreturn]] void throw_attempts(const std::string& target, const std::vector<Attempt>& attempts) {
  const Attempt& last = attempts.back();
  bool is_one_error = true;
  std::string addresses, reasons;
  for (const Attempt& attempt : attempts) {
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

std::unique_ptr<SocketStream> connect_to_one_of(const std::vector<Address>& addresses, const std::string& target,
                                                const ConnectOptions& options) {
  std::vector<Attempt> attempts;
  for (const Address& address : addresses) {
    if (options.local_address && options.local_address->family() != address.family()) {
      attempts.push_back({address, EAFNOSUPPORT});
      continue;
    }
    try {
      UniqueFd socket = make_stream_socket(address.family());
      if (options.local_address) bind_socket(socket.get(), *options.local_address);
      const int error = finish_connect(socket.get(), address);
      if (error == 0) {
        set_no_delay(socket.get());
        return std::make_unique<SocketStream>(require_task("connect").loop(), std::move(socket), address);
      }
      attempts.push_back({address, error});
    } catch (const OsError& error) {
      attempts.push_back({address, error.code().value()});
    }
  }
  throw_attempts(target, attempts);
}

std::string target_name(const std::string& host, std::uint16_t port) {
  const auto numeric = Address::parse(host, port);
  return numeric ? numeric->to_string() : host + ':' + std::to_string(port);
}

}  // namespace

std::unique_ptr<SocketStream> connect_tcp(const std::string& host, std::uint16_t port, const ConnectOptions& options) {
  const std::string target = target_name(host, port);
  try {
    return with_timeout(options.timeout, [&] {
      return connect_to_one_of(resolve({.host = host, .port = port, .family = options.family}), target, options);
    });
  } catch (const TimeoutError& error) {
    throw TimeoutError("connect " + target + ": " + error.what());
  }
}

}  // namespace tulp::detail
