// Resolver: names to addresses and back, on threads of its own.  Floor 6, net.
#pragma once
#include <tulp/address_info.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/event_loop.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace tulp::detail {

/// getaddrinfo(3) blocks for as long as the name servers do, so it runs on threads that nothing else uses: up to four for
/// each loop, and no more than one once all loops together have 32.  A question that is being asked is not asked again:
/// whoever comes later gets the same answer.  A thread that hangs when the loop closes is left behind; what it finds is
/// dropped.
class Resolver : public LoopService {
 public:
  explicit Resolver(EventLoop& loop);
  ~Resolver() override;
  void on_fork() noexcept override;

  Future<std::vector<AddressInfo>> getaddrinfo(std::string host, std::string service,
                                               const AddressInfoOptions& options);
  Future<NameInfo> getnameinfo(const Address& address, int flags);
  /// Calls `look_up` on one of the threads.  It may outlive the Future, and shares nothing with other questions.
  Future<std::monostate> run(UniqueFunction<void()> look_up);

 private:
  class Job;
  template <class T>
  class JobOf;
  template <class T>
  class Lookup;
  struct Shared;

  template <class T>
  Future<T> ask(std::string question, UniqueFunction<T()> look_up);
  void enqueue(const std::shared_ptr<Job>& job);
  void abandon(Job& job);
  static void work(void* shared);
  static void work_off(Shared& shared);

  EventLoop& loop_;
  std::shared_ptr<Shared> shared_;                              // what outlives the resolver while a thread hangs
  std::unordered_map<std::string, std::shared_ptr<Job>> jobs_;  // by their questions
  std::uint64_t run_count_ = 0;
};

/// The addresses of a host for sockets of options.type, without repetition; at least one.
/// Parks: until they are known.  Throws: ResolveError, OsError.
std::vector<Address> resolve(const std::string& host, std::uint16_t port, const AddressInfoOptions& options);

}  // namespace tulp::detail
