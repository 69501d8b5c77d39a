#include "proxy/forwarder.hpp"

#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>

#include <chrono>
#include <utility>

#include "connecting.hpp"
#include "proxy/connection.hpp"

namespace tool::proxy {
namespace {

using namespace std::chrono_literals;

/// One of those that are open, while it lives.
class Counted {
 public:
  explicit Counted(std::atomic<std::size_t>& count) : count_(count), before_(count.fetch_add(1)) {}
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { count_.fetch_sub(1); }
  std::size_t before() const noexcept { return before_; }

 private:
  std::atomic<std::size_t>& count_;
  const std::size_t before_;
};

}  // namespace

void Forwarder::serve(tulp::StreamReader reader, tulp::StreamWriter writer) {
  const tulp::TimePoint begin = tulp::get_event_loop().time();
  const Counted counted(open_count_);

  tulp::Streams client{std::move(reader), std::move(writer)};
  Entry entry{.client = client.writer.get_extra_info<tulp::Address>("peername").value_or(tulp::Address()),
              .target = settings_.targets.front().text};
  const auto write_entry = [&] {
    entry.time = tulp::get_event_loop().time() - begin;
    log_.write(entry);
  };
  if (counted.before() >= settings_.most_connections) {
    client.writer.transport().abort();
    entry.end = "refused: " + std::to_string(counted.before()) + " connections are open";
    return write_entry();
  }
  try {
    forward(client, entry);
  } catch (const tulp::CancelledError&) {
    entry.end = "cut off: the proxy stops";
    write_entry();
    throw;
  }
  write_entry();
}

void Forwarder::forward(tulp::Streams& client, Entry& entry) {
  try {
    tulp::Streams target = connect(entry);
    Connection(client, target, {.idle_limit = settings_.idle_limit, .buffer_bytes = settings_.buffer_bytes}, entry)
        .run();
  } catch (const Failure& failure) {  // there is no target
    client.writer.transport().abort();
    entry.end = failure.what();
  }
}

/// Throws: Failure - none of them; it says why of each.
tulp::Streams Forwarder::connect(Entry& entry) const {
  std::string failures;
  for (const Place& place : settings_.targets) {
    entry.target = place.text;
    try {
      return connecting([&] { return connect(place); });
    } catch (const Failure& failure) {
      failures += (failures.empty() ? "" : "; ") + std::string(failure.what());
    }
  }
  throw Failure(ExitCode::not_connected, failures);
}

tulp::Streams Forwarder::connect(const Place& place) const {
  tulp::ConnectOptions options{
      .timeout = settings_.connect_limit, .keep_alive = true, .ssl = settings_.target_tls, .ssl_shutdown_timeout = 2s};
  if (settings_.target_tls) {
    options.ssl_handshake_timeout = settings_.connect_limit;
    if (!settings_.target_name.empty()) options.server_hostname = settings_.target_name;
  }
  if (place.is_unix()) return tulp::open_unix_connection(place.unix_path, options);
  return tulp::open_connection(place.host, place.port, options);
}

}  // namespace tool::proxy
