#include <tulp/serve.hpp>
#include <tulp/task.hpp>

#include <utility>

#include <tulp/error.hpp>

#include "net/listen.hpp"
#include "streams/workers.hpp"

namespace tulp {

using Handler = detail::StreamHandler;

namespace {

/// What start_workers() binds, it binds without listening: that is the workers' part.
ServerOptions to_bind(const ServeOptions& options) {
  ServerOptions binding = options.server;
  binding.start_serving = false;
  return binding;
}

Workers start(const Handler& handler, detail::Bind bind, ServeOptions options, const void* caller) {
  EventLoop& loop = detail::require_task("start_workers").loop();
  auto pool = std::make_shared<detail::WorkerPool>(loop, handler, std::move(bind), std::move(options), caller);
  pool->start();
  return Workers(std::move(pool));
}

ServeStatistics serve_until_stopped(Workers workers) {
  workers.serve_forever();
  return workers.statistics();
}

}  // namespace

Workers start_workers(Handler handler, Hosts hosts, std::uint16_t port, ServeOptions options) {
  detail::require_task("start_workers");
  auto bind = detail::bind_to(std::move(hosts), port, to_bind(options));
  return start(handler, std::move(bind), std::move(options), TULP_CALLER);
}

Workers start_workers(Handler handler, const Address& address, ServeOptions options) {
  detail::require_task("start_workers");
  auto bind = detail::bind_to(address, to_bind(options));
  return start(handler, std::move(bind), std::move(options), TULP_CALLER);
}

Workers start_workers(Handler handler, ServeOptions options) {
  detail::require_task("start_workers");
  auto bind = detail::bind_sockets(to_bind(options));
  return start(handler, std::move(bind), std::move(options), TULP_CALLER);
}

ServeStatistics serve(Handler handler, Hosts hosts, std::uint16_t port, ServeOptions options) {
  detail::require_task("serve");
  auto bind = detail::bind_to(std::move(hosts), port, to_bind(options));
  return serve_until_stopped(start(handler, std::move(bind), std::move(options), TULP_CALLER));
}

ServeStatistics serve(Handler handler, const Address& address, ServeOptions options) {
  detail::require_task("serve");
  auto bind = detail::bind_to(address, to_bind(options));
  return serve_until_stopped(start(handler, std::move(bind), std::move(options), TULP_CALLER));
}

ServeStatistics serve(Handler handler, ServeOptions options) {
  detail::require_task("serve");
  auto bind = detail::bind_sockets(to_bind(options));
  return serve_until_stopped(start(handler, std::move(bind), std::move(options), TULP_CALLER));
}

std::vector<Address> Workers::addresses() const { return pool_->addresses(); }
std::size_t Workers::size() const noexcept { return pool_->size(); }
std::vector<ServeStatistics> Workers::worker_statistics() const { return pool_->statistics(); }
void Workers::stop() { pool_->stop(); }

ServeStatistics Workers::statistics() const {
  ServeStatistics sum;
  for (const ServeStatistics& one : worker_statistics()) {
    sum.connections_accepted += one.connections_accepted;
    sum.connections_open += one.connections_open;
    sum.bytes_received += one.bytes_received;
    sum.bytes_sent += one.bytes_sent;
    sum.cut_off += one.cut_off;
  }
  return sum;
}

void Workers::wait_closed() {
  detail::require_task("Workers::wait_closed");
  pool_->wait_closed();
}

void Workers::serve_forever() {
  detail::require_task("Workers::serve_forever");
  const detail::OpenWorkers::Termination termination(pool_->all());
  try {
    pool_->wait_closed();
  } catch (const CancelledError&) {
    pool_->end_in_spite_of_cancel();
    throw;
  }
}

}  // namespace tulp
