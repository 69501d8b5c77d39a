// Worker: the connections of one thread, and when each of their requests is due.
#pragma once
#include <tulp/event_loop.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "bench/pattern.hpp"
#include "bench/plan.hpp"

namespace tool::bench {

class Client;

/// What the threads of a benchmark share.
struct Shared {
  std::atomic<std::size_t> ready_count = 0;  ///< threads whose connections stand
  std::atomic<std::uint64_t> answered_count = 0;
  std::atomic<std::uint64_t> failed_count = 0;
  std::atomic<std::int64_t> reply_bytes = -1;  ///< how long the first reply's body was, and all others have to be
};

/// Throughput counts what is answered between two points in time.  Latencies are those of what was due between them, also
/// where the answer came later: who left those out would leave out the slowest.
class Worker {
 public:
  /// The `index`th of plan.thread_count.  Once asked to stop it only says what it has seen so far.
  Worker(const Plan& plan, std::size_t index, Shared& shared, std::stop_token stop);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  /// Parks: until all is over, which is within the plan's times.  Throws: Failure - there was no connection at first.
  Tally run();

  // For the clients.
  const Plan& plan() const noexcept { return plan_; }
  Shared& shared() noexcept { return shared_; }
  Tally& tally() noexcept { return tally_; }
  const Pattern& pattern() const noexcept { return pattern_; }
  const tulp::SslContext& tls_context() { return tls_.context(); }
  tulp::TimePoint now() const { return loop_.time(); }
  /// Whether requests are to be sent.
  bool is_sending() const noexcept { return is_sending_; }
  /// Takes one of the requests that are left, if there is one.
  bool take();
  /// The `count`th of the requests that the client with this number has been due to send at a fixed rate.
  tulp::TimePoint due(std::size_t client, std::uint64_t count) const;
  bool has_answers() const noexcept { return has_answers_; }
  void note_answer(tulp::TimePoint due, tulp::TimePoint now, std::size_t bytes);
  /// `count` requests that were taken get no answer, or a wrong one.
  void note_failure(const std::string& kind, std::uint64_t count);
  void note_lost();
  /// Ends the benchmark; run() throws it.
  void fail(std::exception_ptr error);

 private:
  void open_all();
  void keep_open(Client& client);
  void reopen(Client& client);
  void begin();
  void pump_all();
  void pace();
  void watch(tulp::TimePoint until, bool ends_when_idle);
  void stop_sending();
  void count_owed();

  const Plan& plan_;
  const std::size_t index_;
  Shared& shared_;
  const std::stop_token stop_;
  const Pattern pattern_;
  ClientTls tls_;  // a context for each thread
  tulp::EventLoop& loop_ = tulp::get_event_loop();
  std::vector<std::shared_ptr<Client>> clients_;
  tulp::TimerHandle pacer_;
  std::uint64_t paced_count_ = 0;
  std::optional<std::uint64_t> left_count_;  // requests that may still be sent
  std::uint64_t waiting_count_ = 0;          // requests without an answer
  std::uint64_t unpublished_count_ = 0;
  bool is_sending_ = false;
  bool has_answers_ = false;
  tulp::TimePoint begin_, measured_from_, measured_to_, last_answer_;
  std::exception_ptr error_;
  Tally tally_;
};

}  // namespace tool::bench
