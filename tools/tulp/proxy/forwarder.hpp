// Forwarder: what becomes of each connection that tulp proxy accepts.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/stream.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "proxy/access_log.hpp"
#include "proxy/place.hpp"

namespace tool::proxy {

struct ForwarderSettings {
  std::vector<Place> targets = {};  // the first that takes a connection gets it
  std::optional<tulp::SslContext> target_tls = std::nullopt;
  std::string target_name = {};  // whom its certificate must be for, if not the host
  tulp::Duration connect_limit = {};
  tulp::Duration idle_limit = {};
  std::size_t most_connections = 0;
  std::size_t buffer_bytes = 0;  // of each direction
};

/// Thread: any; each connection stays on its loop.
class Forwarder {
 public:
  Forwarder(ForwarderSettings settings, AccessLog& log) : settings_(std::move(settings)), log_(log) {}

  /// Parks: until the connection is over, and has its line in the log.
  void serve(tulp::StreamReader reader, tulp::StreamWriter writer);

 private:
  void forward(tulp::Streams& client, Entry& entry);
  tulp::Streams connect(Entry& entry) const;
  tulp::Streams connect(const Place& place) const;

  const ForwarderSettings settings_;
  AccessLog& log_;
  std::atomic<std::size_t> open_count_ = 0;
};

}  // namespace tool::proxy
