// Connection: a client and a target, and what each has to say to the other.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/handle.hpp>
#include <tulp/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/access_log.hpp"
#include "relay.hpp"

namespace tool::proxy {

struct ConnectionLimits {
  tulp::Duration idle_limit = {};
  std::size_t buffer_bytes = 0;
};

/// Bytes, ends and resets are passed on in both directions, each as fast as its receiver takes it.
///
/// A side that breaks the connection has it broken on the other side; one that only takes no more may still have something
/// to say, which is passed on first.
class Connection {
 public:
  /// All of these have to outlive it.
  Connection(tulp::Streams& client, tulp::Streams& target, const ConnectionLimits& limits, Entry& entry);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// Parks: until both sides are closed.  The entry says how much there was, and how it ended.
  /// Cancel: both are aborted.
  void run();

 private:
  /// From one side to the other.
  struct Flow {
    tulp::StreamReader& from;
    tulp::StreamWriter& source;  // of the same side as `from`
    tulp::StreamWriter& to;
    const char* name;      // of where it comes from
    std::uint64_t& bytes;  // moved
    bool has_ended = false;
    bool is_writing = false;
    std::uint64_t bytes_at_check = 0;
  };

  void pass_on(Flow& flow);
  void end_at_target_of(Flow& flow);
  void close();
  void break_off(const std::string& why);
  void note(const std::string& what);
  void watch_idleness();
  void watch_writing();
  void check_writing();

  const ConnectionLimits limits_;
  Entry& entry_;
  Flow up_;
  Flow down_;
  bool is_over_ = false;
  bool is_watching_ = false;  // writing_timer_ runs
  tulp::TimePoint moved_at_;
  tulp::TimerHandle idle_timer_;
  tulp::TimerHandle writing_timer_;
};

}  // namespace tool::proxy
