// tulp bench: a load generator for echo and HTTP servers, which says how fast they are, and whether they are right.
#include <sys/socket.h>
#include <unistd.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/plan.hpp"
#include "bench/report.hpp"
#include "bench/worker.hpp"
#include "command.hpp"
#include "concurrently.hpp"
#include "connecting.hpp"
#include "descriptor_limit.hpp"
#include "http/url.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "tls.hpp"
#include "unix_name.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;
using namespace bench;

struct BenchOptions {
  std::string target;
  std::string unix_path;
  bool is_udp = false;
  bool is_tls = false;
  int family = AF_UNSPEC;
  double warm_up_seconds = 0.5;
  double duration_seconds = 10;
  double timeout_seconds = 10;
  std::string method;
  std::vector<std::string> fields;
  std::optional<std::string> body;
  bool prints_json = false;
  Plan plan;
};

bool is_url(std::string_view target) { return target.find("://") != target.npos; }

/// Where the server is, in the form of a URL: HOST:PORT has no path, and needs its port.
http::Url url_of(const BenchOptions& options) {
  if (options.target.empty()) return {.host = "localhost"};
  if (is_url(options.target)) return http::parse_url(options.target);
  const std::size_t colon = options.target.rfind(':');
  std::uint16_t port = 0;
  const char* end = options.target.data() + options.target.size();
  const bool has_port = colon != options.target.npos && colon > 0 &&
                        std::from_chars(options.target.data() + colon + 1, end, port).ptr == end && port > 0;
  if (!has_port)
    throw Failure(ExitCode::bad_arguments, options.target + ": neither HOST:PORT nor an http or https URL");
  return http::parse_url("http://" + options.target);
}

bool names(const std::vector<std::string>& fields, std::string_view name) {
  return std::any_of(fields.begin(), fields.end(), [name](const std::string& field) {
    return CLI::detail::to_lower(field.substr(0, field.find(':'))) == name;
  });
}

std::string request_of(const BenchOptions& options, const http::Url& url) {
  const std::string method = !options.method.empty() ? options.method : options.body ? "POST" : "GET";
  std::string text = method + " " + url.target + " HTTP/1.1\r\n";
  const auto add = [&](const char* name, const std::string& field) {
    if (!names(options.fields, name)) text += field + "\r\n";
  };
  add("host", "Host: " + url.authority());
  add("user-agent", "User-Agent: tulp/" TULP_VERSION);
  add("accept", "Accept: */*");
  if (options.body) {
    add("content-type", "Content-Type: application/x-www-form-urlencoded");
    add("content-length", "Content-Length: " + std::to_string(options.body->size()));
  }
  for (const std::string& field : options.fields) text += field + "\r\n";
  return text + "\r\n" + options.body.value_or("");
}

/// A name may have several addresses, of which all connections are to find the same: one goes ahead.
tulp::Address find_server(const BenchOptions& options, const http::Url& url) {
  if (!options.unix_path.empty()) return tulp::Address::unix_path(unix_name(options.unix_path));
  if (const auto address = tulp::Address::parse(url.host, url.port)) return *address;
  const std::chrono::duration<double> timeout(options.timeout_seconds);
  return connecting([&] {
    if (options.is_udp) {
      const auto socket = tulp::with_timeout(timeout, [&] {
        return tulp::open_datagram_socket({.remote_addr = {url.host, url.port}, .family = options.family});
      });
      return *socket.get_extra_info<tulp::Address>("peername");
    }
    const auto [reader, writer] =
        tulp::open_connection(url.host, url.port, {.family = options.family, .timeout = timeout});
    return *writer.get_extra_info<tulp::Address>("peername");
  });
}

Plan make_plan(const BenchOptions& options) {
  const http::Url url = url_of(options);
  Plan plan = options.plan;
  plan.target = options.unix_path.empty() ? options.target : options.target + " unix:" + options.unix_path;
  plan.peer = is_url(options.target) ? Peer::http : options.is_udp ? Peer::datagrams : Peer::echo;
  plan.server_name = url.host;
  if (!options.is_tls && url.scheme != http::Scheme::https) plan.tls.reset();
  if (plan.tls) plan.tls->context();
  plan.timeout = std::chrono::duration<double>(options.timeout_seconds);
  plan.warm_up = std::chrono::duration<double>(options.warm_up_seconds);
  plan.duration = std::chrono::duration<double>(options.duration_seconds);
  if (plan.peer == Peer::http) plan.request = request_of(options, url);
  plan.is_head = options.method == "HEAD";
  plan.address = find_server(options, url);
  return plan;
}

/// In a thread of its own, with a loop of its own.
Tally work(const Plan& plan, std::size_t index, Shared& shared, const std::stop_token& stop) {
  try {
    return tulp::run([&] { return Worker(plan, index, shared, stop).run(); }, {.drain = 1s});
  } catch (const tulp::FutureCancelledError&) {
    return {};  // stopped before it began
  }
}

void show_progress(StatusLine& status, const Plan& plan, const Shared& shared, tulp::Duration elapsed) {
  std::string line = in_time(elapsed) + ": ";
  if (shared.ready_count < plan.thread_count) return status.show(line + "connecting");
  line += in_groups(shared.answered_count);
  if (plan.request_count) line += " of " + in_groups(*plan.request_count);
  status.show(line + " answers, " + in_groups(shared.failed_count) + " errors");
}

ExitCode print(const Plan& plan, const std::vector<Tally>& tallies, bool as_json) {
  Tally all;
  for (const Tally& tally : tallies) all.merge(tally);
  const Page page{width_of(STDOUT_FILENO), wants_unicode(), Colours(STDOUT_FILENO)};
  write_all(STDOUT_FILENO, as_json ? to_json(plan, all) : to_text(plan, all, page), "stdout");
  return all.errors.total() > 0 || all.latencies.count() == 0 ? ExitCode::failed : ExitCode::ok;
}

ExitCode run(const BenchOptions& options) {
  raise_descriptor_limit();
  const Plan plan = make_plan(options);
  tulp::EventLoop& loop = tulp::get_event_loop();
  loop.set_default_executor(
      std::make_shared<tulp::ThreadPoolExecutor>(tulp::ThreadPoolOptions{.max_workers = plan.thread_count + 1}));
  Shared shared;
  std::vector<Tally> tallies(plan.thread_count);
  StatusLine status(STDERR_FILENO);
  const Ticker ticker(100ms, [&, begin = loop.time()] { show_progress(status, plan, shared, loop.time() - begin); });
  for_each_concurrently(plan.thread_count, plan.thread_count, [&](std::size_t index) {
    tallies[index] = tulp::to_thread([&](const std::stop_token& stop) { return work(plan, index, shared, stop); });
  });
  status.clear();
  const bool has_begun = shared.ready_count == plan.thread_count;
  const ExitCode code = has_begun ? print(plan, tallies, options.prints_json) : ExitCode::failed;
  tulp::sleep(0s);  // where a cancellation, which has only asked the threads to stop, comes out
  return code;
}

std::string check_seconds(const std::string& text) {
  double seconds = 0;
  return CLI::detail::lexical_cast(text, seconds) && seconds > 0 ? "" : "must be a number of seconds above 0";
}

std::string check_field(const std::string& text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' '; };
  const bool is_field = text.find(':') != text.npos && text.front() != ':';
  return is_field && std::none_of(text.begin(), text.end(), is_control) ? "" : "must be 'NAME: VALUE'";
}

std::string check_method(const std::string& text) {
  const bool is_method =
      std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; });
  return is_method && !text.empty() ? "" : "must be a method, such as POST";
}

constexpr const char* bench_help = R"(Examples: tulp bench -c 100 http://localhost:8080/
          tulp bench -c 100 --rate 5000 --duration 30 https://localhost:8443/
          tulp echo --port 7000    and elsewhere: tulp bench --size 1024 localhost:7000
          tulp bench --unix /tmp/echo -n 100000

Every answer is checked: an echo has to be what was sent, byte for byte; a reply of HTTP needs a status below 400 and
a body as long as the first reply's; datagrams may get lost, which is counted.  A connection that breaks is counted
and opened again.

Without --rate each connection sends its next request when an answer has come, so that a server which stalls gets
fewer of them, and most of those that would have waited are never seen ("coordinated omission").  With --rate
requests are due at fixed times, whatever the server does, and each latency counts from when the request was due: it
has the time in which the request could not be sent.

The time given with --duration begins after the warm-up.  Ctrl-C ends it early, and prints what there is.

Exit codes:
   0  every answer was right; datagrams may have been lost
   1  an answer was wrong or missing, or none came
   2  bad arguments
   3  malformed URL
   6  the host's name has no address
   7  could not connect
  23  the output could not be written
  28  connecting took too long
  35  the TLS handshake failed
  58  the own certificate or its key cannot be used
  60  the server's certificate is not to be trusted
  77  the file given with --cacert or --crlfile cannot be used
 130  interrupted (Ctrl-C); 143: terminated)";

/// What belongs to one kind of server alone.
void check(const BenchOptions& options, const CLI::App& bench) {
  const auto refuse = [&](const char* option, const char* why) {
    if (bench.get_option(option)->count() > 0) throw CLI::ValidationError(option, why);
  };
  if (options.target.empty() && options.unix_path.empty()) throw CLI::RequiredError("TARGET or --unix");
  if (is_url(options.target)) {
    for (const char* option : {"--size", "--udp", "--tls"}) refuse(option, "is for echo servers, and this is a URL");
  } else {
    for (const char* option : {"--request", "--header", "--data", "--status", "--any-size"}) {
      refuse(option, "is for HTTP, and this is no URL");
    }
  }
  if (options.is_udp && options.plan.size_bytes < 8) throw CLI::ValidationError("--size", "at least 8 with --udp");
  if (options.is_udp && options.plan.size_bytes > 65'507)
    throw CLI::ValidationError("--size", "at most 65507 with --udp");
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<BenchOptions>();
  Plan& plan = options->plan;
  plan.tls = std::make_shared<ClientTls>();
  CLI::App* bench = app.add_subcommand("bench", "Put load on an echo or HTTP server, and say how it does");
  bench->add_option("TARGET", options->target, "An http or https URL, or HOST:PORT of an echo server");
  bench->add_option("-c,--connections", plan.connection_count, "How many connections")
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->capture_default_str();
  bench->add_option("-p,--pipeline", plan.pipeline, "How many requests each may have under way")
      ->check(CLI::Range(1, 10'000).description(""))
      ->capture_default_str();
  bench->add_option("-t,--threads", plan.thread_count, "How many threads share the connections")
      ->check(CLI::Range(1, 1'000).description(""))
      ->capture_default_str();
  CLI::Option* duration =
      bench->add_option("--duration", options->duration_seconds, "How many seconds are measured, as 2.5")
          ->check(check_seconds)
          ->capture_default_str();
  CLI::Option* count =
      bench->add_option("-n,--requests", plan.request_count, "How many requests, instead of a duration")
          ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 62).description(""))
          ->excludes(duration);
  bench->add_option("-r,--rate", plan.rate, "How many requests are due in a second, over all connections")
      ->check(CLI::Range(0.001, 1e8).description(""));
  CLI::Option* warm_up =
      bench->add_option("--warmup", options->warm_up_seconds, "How many seconds go before; none with --requests")
          ->check(CLI::NonNegativeNumber.description(""))
          ->capture_default_str()
          ->excludes(count);
  bench->add_option("--timeout", options->timeout_seconds, "How many seconds an answer, or connecting, may take")
      ->check(check_seconds)
      ->capture_default_str();
  bench->add_option("-s,--size", plan.size_bytes, "How many bytes an echo's message has")
      ->type_name("BYTES")
      ->check(CLI::Range(1, 64 << 20).description(""))
      ->capture_default_str();
  CLI::Option* udp = bench->add_flag("-u,--udp", options->is_udp, "An echo server for datagrams");
  CLI::Option* tls = bench->add_flag("--tls", options->is_tls, "An echo server that speaks TLS")->excludes(udp);
  bench->add_option("--unix", options->unix_path, "Connect to this Unix socket; @NAME is an abstract one")
      ->type_name("PATH")
      ->check(check_unix_name)
      ->excludes(udp);
  bench->add_option("-X,--request", options->method, "The method of HTTP, else GET, or POST with --data")
      ->type_name("METHOD")
      ->check(check_method);
  bench->add_option("-H,--header", options->fields, "A header to send, as 'NAME: VALUE'; may be given again")
      ->type_name("HEADER")
      ->check(check_field)
      ->allow_extra_args(false);
  bench->add_option("-d,--data", options->body, "The request's body")->type_name("DATA");
  bench->add_option("--status", plan.status, "The status that replies must have, instead of any below 400")
      ->check(CLI::Range(200, 599).description(""));
  bench->add_flag("--any-size", plan.sizes_may_differ, "Bodies may differ in size");
  const auto set_family = [options](int family) { return [options, family] { options->family = family; }; };
  CLI::Option* ipv4 = bench->add_flag_callback("-4,--ipv4", set_family(AF_INET), "Use IPv4 addresses only");
  bench->add_flag_callback("-6,--ipv6", set_family(AF_INET6), "Use IPv6 addresses only")->excludes(ipv4);
  bench->add_flag("--json", options->prints_json, "Report as JSON, with times in seconds");
  plan.tls->add_options(*bench);
  tls->excludes(udp);
  bench->footer(bench_help);
  bench->callback([&chosen, options, bench, count, warm_up] {
    check(*options, *bench);
    if (count->count() > 0) {
      options->duration_seconds = std::numeric_limits<double>::infinity();
      if (warm_up->count() == 0) options->warm_up_seconds = 0;
    }
    Plan& chosen_plan = options->plan;
    chosen_plan.thread_count = std::min(chosen_plan.thread_count, chosen_plan.connection_count);
    chosen = [options] { return run(*options); };
  });
}

}  // namespace tool
