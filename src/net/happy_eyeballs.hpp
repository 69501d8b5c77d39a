// Happy Eyeballs: the addresses of one host, tried side by side.  Floor 6, net.
//
// Source: RFC 8305.  Its asynchronous look-up (section 3) is left out: getaddrinfo(3) gives both families at once.
#pragma once
#include <tulp/address.hpp>
#include <tulp/detail/task_control.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <memory>
#include <vector>

#include "net/connecting.hpp"

namespace tulp::detail {

/// The order in which to try the addresses: `first_count` of the first one's family, then of each family in turn.  With 0
/// as they are.
std::vector<Address> interleave(const std::vector<Address>& addresses, std::size_t first_count);

/// Attempts to connect, each begun when the one before it has failed or has taken a while.  The first connection that
/// stands wins; the others are closed with the race.
class ConnectRace final : private Park {
 public:
  struct Attempt {
    Address address;
    std::unique_ptr<Connecting> connecting = nullptr;  // while it is under way
    int error = 0;
  };

  ConnectRace(TaskControl& me, const std::vector<Address>& addresses, const ConnectOptions& options);
  ~ConnectRace();

  /// Parks: until a connection stands; null if every attempt has failed.
  std::unique_ptr<ByteStream> run();
  const std::vector<Attempt>& attempts() const noexcept { return attempts_; }

 private:
  bool is_next_due() const;
  bool is_any_under_way() const;
  void begin(Attempt& attempt);
  bool stands(Attempt& attempt);
  void wait();
  void undo() noexcept override;
  std::string description() const override;

  TaskControl& me_;
  const ConnectOptions& options_;
  std::vector<Attempt> attempts_;
  std::size_t begun_count_ = 0;
  Timer next_{me_};  // when the next attempt begins beside the others
};

}  // namespace tulp::detail
