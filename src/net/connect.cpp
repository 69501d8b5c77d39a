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

class ConnectPark final : public Park {
 public:
  explicit ConnectPark(SocketStream& stream) noexcept : stream_(stream) {}
  void undo() noexcept override { stream_.disarm(Direction::write); }

 private:
  SocketStream& stream_;
};

void wait_writable(SocketStream& stream, TaskControl& me) {
  throw_if_cancelled();
  stream.arm(Direction::write, me);
  ConnectPark wait(stream);
  park(wait);
}

/// What came of one address: a stream, or why there is none.
struct Outcome {
  std::unique_ptr<SocketStream> stream;
  int error = 0;
};

Outcome try_address(const Address& address, const ConnectOptions& options) {
  TaskControl& me = require_task("connect");
  UniqueFd socket = make_stream_socket(address.family());
  const int fd = socket.get();
  if (options.local_address) bind_socket(fd, *options.local_address);
  set_no_delay(fd);
  const bool is_immediate = sys.connect(fd, address.data(), address.size()) == 0;
  if (!is_immediate && errno != EINPROGRESS && errno != EINTR) return {nullptr, errno};
  // Watched only now: a socket that has never been connected reports a hang-up.
  auto stream = std::make_unique<SocketStream>(me.loop(), std::move(socket), address);
  while (!is_immediate && peer_address(fd).family() == AF_UNSPEC) {  // a report of readiness is a hint
    wait_writable(*stream, me);
    if (const int error = pending_error(fd)) return {nullptr, error};
  }
  // A port of this machine's own range may be dialled from itself, and then talks to itself.
  if (local_address(fd) == address) return {nullptr, ECONNREFUSED};
  return {std::move(stream)};
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
      Outcome outcome = try_address(address, options);
      if (outcome.stream) return std::move(outcome.stream);
      attempts.push_back({address, outcome.error});
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
      return connect_to_one_of(resolve(host, port, {.family = options.family, .type = SOCK_STREAM}), target, options);
    });
  } catch (const TimeoutError& error) {
    throw TimeoutError("connect " + target + ": " + error.what());
  }
}

}  // namespace tulp::detail
