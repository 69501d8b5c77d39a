// Resolver: names to addresses, on threads of its own.  Floor 6, net.
#pragma once
#include <tulp/address.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/future.hpp>

#include <memory>
#include <string>
#include <vector>

namespace tulp::detail {

struct ResolveQuery {
  std::string host;  // empty: every local address if is_passive, else the loopback ones
  std::uint16_t port = 0;
  int family = 0;
  bool is_passive = false;
};

/// getaddrinfo(3) blocks for as long as the name servers do, so it runs on a few threads that nothing else uses.  A
/// thread that hangs in it when the loop closes is left behind; what it finds is dropped.
class Resolver : public LoopService {
 public:
  explicit Resolver(EventLoop& loop);
  ~Resolver() override;

  /// The stream addresses of the name, in the system's order, without repetition; at least one.  A numeric address is
  /// there at once.  Fails with ResolveError or OsError.
  Future<std::vector<Address>> resolve(ResolveQuery query);

 private:
  class Job;
  struct Shared;
  static void work(const std::shared_ptr<Shared>& shared);

  EventLoop& loop_;
  std::shared_ptr<Shared> shared_;  // what outlives the resolver while a thread hangs
};

/// Parks until the name is resolved.
std::vector<Address> resolve(ResolveQuery query);

}  // namespace tulp::detail
