// serve: the same server on several loops, each in a thread of its own.  Floor 8, streams.
#pragma once
#include <tulp/stream.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace tulp {

struct ServeOptions {
  /// How many threads, each with a loop; 0 is one for each processor that this process may use.
  std::size_t workers = 0;
  /// How long connections and handlers have to end by themselves after a stop, as in Server::shutdown().
  Duration grace = std::chrono::seconds(5);
  /// Of each worker's server; they serve from the beginning, whatever start_serving says.
  ServerOptions server = {};
  /// Which loops to make.
  LoopOptions loop = {};
  /// Called in each worker, in several threads at once, as a task of its loop and before it accepts: to set its exception
  /// handler, to make what its handlers share.  What it throws, start_workers() throws.
  std::function<void()> on_start = {};
};

struct ServeStatistics {
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_open = 0;
  /// As the kernel has given and taken them.
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  /// How many connections and handlers were left when the grace was over, and were ended.
  std::uint64_t cut_off = 0;
};

namespace detail {
class WorkerPool;
}

/// A handle to a server on several loops; copies name the same one.  The loop that it was started on owns it until it has
/// stopped: dropping the handle changes nothing, and the end of that loop stops it.
///
/// A TCP port is shared by SO_REUSEPORT: the kernel deals out the connections, and a worker keeps those that it was dealt.
/// It is taken without that option first, so that a second program that wants it gets its EADDRINUSE; with
/// ServerOptions::reuse_port it is not.  Unix sockets, and sockets from elsewhere, are one queue for all workers.
class Workers {
 public:
  explicit Workers(std::shared_ptr<detail::WorkerPool> pool) : pool_(std::move(pool)) {}

  /// The addresses that were bound, with the ports that were chosen for port 0; the same for all workers.
  std::vector<Address> addresses() const;
  /// The port of the first of them.
  std::uint16_t port() const { return addresses().front().port(); }
  std::size_t size() const noexcept;

  /// The sum over all workers, up to now, also after the stop.  Thread: any.
  ServeStatistics statistics() const;
  /// Of each worker.  Thread: any.
  std::vector<ServeStatistics> worker_statistics() const;

  /// Asks all workers to shut down, with ServeOptions::grace, and does not wait for that.  May be called twice.
  /// Thread: any.
  void stop();
  /// Parks: until all workers have ended; none of their threads is there any more.  Cancel: they go on.
  /// Throws: what ended one of them before it was asked to; the others were stopped then.
  void wait_closed();
  /// As wait_closed(); meanwhile the first SIGTERM is a stop(), unless the program has a handler of its own for it.
  /// Cancel: stop(), and the task goes on with its CancelledError when all workers have ended.  Ctrl-C comes as such in
  /// run()'s main task.
  void serve_forever();

 private:
  std::shared_ptr<detail::WorkerPool> pool_;
};

/// Listens as start_server() does, in several threads at once.  Each worker calls a copy of `handler`; what the copies
/// refer to is shared by threads.
/// Parks: until all workers accept.  Cancel: there are none.
/// Throws: as start_server(); OsError - a thread or a loop could not be made; what options.on_start throws.  Then no worker
/// is left, and what was accepted meanwhile is closed.
Workers start_workers(std::function<void(StreamReader, StreamWriter)> handler, Hosts hosts, std::uint16_t port,
                      ServeOptions options = {});
Workers start_workers(std::function<void(StreamReader, StreamWriter)> handler, const Address& address,
                      ServeOptions options = {});
/// On options.server.socks.
Workers start_workers(std::function<void(StreamReader, StreamWriter)> handler, ServeOptions options);

/// start_workers(), then serve_forever(); the statistics at the end: `tulp::serve(handler, "", 8080, {.workers = 4})`.
ServeStatistics serve(std::function<void(StreamReader, StreamWriter)> handler, Hosts hosts, std::uint16_t port,
                      ServeOptions options = {});
ServeStatistics serve(std::function<void(StreamReader, StreamWriter)> handler, const Address& address,
                      ServeOptions options = {});
ServeStatistics serve(std::function<void(StreamReader, StreamWriter)> handler, ServeOptions options);

}  // namespace tulp
