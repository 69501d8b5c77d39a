// Plan and Tally: what a benchmark is to do, and what one thread of it has seen.
#pragma once
#include <tulp/address.hpp>
#include <tulp/duration.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bench/histogram.hpp"
#include "tls.hpp"

namespace tool::bench {

enum class Peer { echo, datagrams, http };

struct Plan {
  Peer peer = Peer::echo;
  std::string target;     ///< as the report names it
  tulp::Address address;  ///< of all connections
  std::string server_name;
  std::shared_ptr<ClientTls> tls;  ///< null: in plain

  std::size_t connection_count = 10;
  std::size_t thread_count = 1;
  std::size_t pipeline = 1;  ///< how many requests of a connection may be without an answer
  double rate = 0;           ///< requests per second, of all connections; 0: the next when an answer has come
  std::optional<std::uint64_t> request_count;
  tulp::Duration warm_up;
  tulp::Duration duration;
  tulp::Duration timeout;

  std::size_t size_bytes = 64;     ///< of an echo's message
  std::string request;             ///< of HTTP, with its body
  bool is_head = false;            ///< its replies have no body, whatever they say
  std::optional<unsigned> status;  ///< that replies have to have; else any below 400
  bool sizes_may_differ = false;

  bool is_open_loop() const noexcept { return rate > 0; }
};

/// The errors of one kind are counted together, and of endless kinds only the first ones get a name.
class ErrorCounts {
 public:
  void add(const std::string& kind, std::uint64_t count) {
    const bool is_named = counts_.count(kind) > 0 || counts_.size() < most_kinds;
    counts_[is_named ? kind : "other errors"] += count;
    total_ += count;
  }
  void merge(const ErrorCounts& other) {
    for (const auto& [kind, count] : other.counts_) add(kind, count);
  }
  std::uint64_t total() const noexcept { return total_; }
  const std::map<std::string, std::uint64_t>& by_kind() const noexcept { return counts_; }

 private:
  static constexpr std::size_t most_kinds = 20;
  std::map<std::string, std::uint64_t> counts_;
  std::uint64_t total_ = 0;
};

struct Tally {
  Histogram latencies;               ///< of the right answers to what was due after the warm-up
  std::uint64_t answered_count = 0;  ///< right ones, within the measured time
  std::uint64_t received_bytes = 0;  ///< of these; HTTP's heads too
  std::uint64_t lost_count = 0;      ///< datagrams that did not come back in time
  std::uint64_t stray_count = 0;     ///< datagrams that came back late, or twice
  std::uint64_t owed_count = 0;      ///< requests that were due at a fixed rate, and could not be sent
  std::uint64_t reopened_count = 0;  ///< connections that the server had ended in order, between requests
  std::chrono::nanoseconds time{};   ///< that was measured
  ErrorCounts errors;                ///< also during the warm-up

  void merge(const Tally& other) {
    latencies.merge(other.latencies);
    answered_count += other.answered_count;
    received_bytes += other.received_bytes;
    lost_count += other.lost_count;
    stray_count += other.stray_count;
    owed_count += other.owed_count;
    reopened_count += other.reopened_count;
    time = std::max(time, other.time);
    errors.merge(other.errors);
  }
};

}  // namespace tool::bench
