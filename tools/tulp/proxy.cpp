// tulp proxy: forwards connections, with TLS on either side.

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command.hpp"
#include "descriptor_limit.hpp"
#include "loop_choice.hpp"
#include "output.hpp"
#include "proxy/access_log.hpp"
#include "proxy/forwarder.hpp"
#include "proxy/place.hpp"
#include "seconds.hpp"
#include "terminal.hpp"
#include "tls.hpp"

namespace tool {
namespace {

struct ProxySettings {
  std::string listen;
  std::vector<std::string> targets;
  ServerTls server_tls;
  bool is_target_tls = false;
  ClientTls target_tls;
  std::string target_name;
  double connect_seconds = 10;
  double idle_seconds = 0;
  double grace_seconds = 10;
  std::size_t most_connections = 4096;
  std::size_t buffer_bytes = 128 * 1024;
  std::size_t workers = 1;
  bool is_quiet = false;
};

proxy::ForwarderSettings forwarder_settings(ProxySettings& settings) {
  proxy::ForwarderSettings result{
      .target_name = settings.target_name,
      .connect_limit = seconds(settings.connect_seconds),
      .idle_limit = settings.idle_seconds == 0 ? tulp::Duration::max() : seconds(settings.idle_seconds),
      .most_connections = std::min(settings.most_connections, possible_connection_count()),
      .buffer_bytes = settings.buffer_bytes};
  for (const std::string& target : settings.targets) result.targets.push_back(proxy::Place::parse(target));
  if (settings.is_target_tls) result.target_tls = settings.target_tls.context();
  return result;
}

tulp::Workers start(const ProxySettings& settings, const std::shared_ptr<proxy::Forwarder>& forwarder,
                    proxy::AccessLog& log) {
  const auto serve = [forwarder](tulp::StreamReader reader, tulp::StreamWriter writer) {
    forwarder->serve(std::move(reader), std::move(writer));
  };
  const auto watch_loop = [&log] {
    complain_for_loop("tulp proxy", [&log](std::string_view what) { log.complain(what); });
  };
  const tulp::ServeOptions options{.workers = settings.workers,
                                   .grace = seconds(settings.grace_seconds),
                                   .server = {.backlog = 1024,
                                              .keep_alive = true,
                                              .ssl = settings.server_tls.context(),
                                              .ssl_handshake_timeout = seconds(settings.connect_seconds),
                                              .ssl_shutdown_timeout = std::chrono::seconds(2)},
                                   .loop = loop_for_many_connections(),
                                   .on_start = watch_loop};
  const proxy::Place place = proxy::Place::parse(settings.listen);
  if (place.is_unix()) return tulp::start_workers(serve, tulp::Address::unix_path(place.unix_path), options);
  return tulp::start_workers(serve, place.host, place.port, options);
}

ExitCode run(ProxySettings& settings) {
  proxy::AccessLog log(settings.is_quiet);
  const auto forwarder = std::make_shared<proxy::Forwarder>(forwarder_settings(settings), log);
  tulp::Workers workers = start(settings, forwarder, log);
  log.on_failure([workers]() mutable { workers.stop(); });
  for (const tulp::Address& address : workers.addresses()) log.write_line("listening on " + address.to_string());
  workers.serve_forever();
  log.finish();
  return ExitCode::ok;
}

constexpr const char* proxy_help = R"(Examples: tulp proxy --listen 8080 --to example.org:80
          tulp proxy --listen :443 --tls-cert chain.pem --tls-key key.pem --to unix:/run/app.sock
          tulp proxy --listen 5432 --to db.example.org:5433 --to-tls --cacert ca.pem

ADDR is HOST:PORT, [IPV6]:PORT, :PORT for all addresses of this machine, PORT alone for 127.0.0.1,
unix:PATH, or unix:@NAME for an abstract socket.  Port 0 takes a free port; the port is printed.

Each side's end, and its breaking the connection, are passed on to the other.  For each connection that is
over, standard output has a line: when, who, to whom, the bytes up to the target and down from it, how long,
and how it ended.  SIGTERM and Ctrl-C stop it: connections that stand have --grace seconds to end.

It works over io_uring if the kernel allows that, where 64 KiB more may wait for each side that is slow to
read; else over epoll.  TULP_SELECTOR in the environment may name one of them.

Exit codes:
   1  the address cannot be listened on, or something else failed
   2  bad arguments
  23  the log could not be written
  58  the own certificate or its key cannot be used
  77  the file given with --cacert or --crlfile cannot be used
 130  interrupted (Ctrl-C); 143: terminated)";

void check(const ProxySettings& settings) {
  if (!settings.is_target_tls || !settings.target_name.empty() || settings.target_tls.is_insecure()) return;
  for (const std::string& target : settings.targets) {
    if (proxy::Place::parse(target).is_unix())
      throw CLI::ValidationError("--to-tls to " + target + " needs --to-name", CLI::ExitCodes::ValidationError);
  }
}

}  // namespace

void add_proxy(CLI::App& app, Command& chosen) {
  const auto settings = std::make_shared<ProxySettings>();
  CLI::App* proxy = app.add_subcommand("proxy", "Forward connections to another address, with TLS on either side");
  const CLI::Range any_time(0.001, 1e9);
  proxy->add_option("-l,--listen", settings->listen, "Where to listen")
      ->type_name("ADDR")
      ->required()
      ->check(proxy::check_place_to_listen);
  proxy->add_option("-t,--to", settings->targets, "Where to connect to; more of them are tried in turn if it cannot be")
      ->type_name("ADDR")
      ->required()
      ->take_all()
      ->allow_extra_args(false)
      ->check(proxy::check_place_to_connect);
  settings->server_tls.add_options(*proxy);
  CLI::Option* to_tls = proxy->add_flag("--to-tls", settings->is_target_tls, "Speak TLS to the target");
  proxy->add_option("--to-name", settings->target_name, "Whom the target's certificate must be for, if not the host")
      ->type_name("NAME")
      ->needs(to_tls);
  settings->target_tls.add_options(*proxy);
  for (const char* name : ClientTls::names) proxy->get_option(name)->needs(to_tls);
  proxy
      ->add_option("--connect-timeout", settings->connect_seconds,
                   "How long connecting to a target may take, and each TLS handshake")
      ->type_name("SECONDS")
      ->check(any_time)
      ->capture_default_str();
  proxy
      ->add_option("--idle-timeout", settings->idle_seconds,
                   "How long nothing may move on a connection before it is broken off; by default for ever")
      ->type_name("SECONDS")
      ->check(any_time);
  proxy->add_option("--grace", settings->grace_seconds, "How long connections have to end when the proxy is stopped")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  proxy->add_option("--max-connections", settings->most_connections, "How many at a time; what comes beyond is refused")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  proxy->add_option("--buffer", settings->buffer_bytes, "Bytes that may wait in each direction of a connection")
      ->type_name("BYTES")
      ->check(CLI::Range(4'096, 16'777'216))
      ->capture_default_str();
  proxy->add_option("--workers", settings->workers, "How many threads, each on a core; 0 is one for each core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  proxy->add_flag("-q,--quiet", settings->is_quiet, "No line for each connection");
  proxy->footer(proxy_help);
  proxy->callback([&chosen, settings] {
    check(*settings);
    chosen = [settings] { return run(*settings); };
  });
}

}  // namespace tool
