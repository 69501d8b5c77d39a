// tulp demo: what fibers are good for, to look at.
#include <unistd.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command.hpp"
#include "concurrently.hpp"
#include "demo/report.hpp"
#include "demo/site.hpp"
#include "descriptor_limit.hpp"
#include "http/client.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "tls.hpp"

namespace tool {
namespace {

using namespace demo;
using namespace std::chrono_literals;

constexpr auto limit_per_url = 30s;

struct DemoOptions {
  std::vector<std::string> urls;
  std::size_t page_count = 2000;
  std::size_t fiber_count = 250;
  bool only_serves = false;
  std::uint16_t port = 0;
  ServerTls server_tls;
  http::Via via;
};

void print(const std::string& text) { write_all(STDOUT_FILENO, text, "stdout"); }

/// Fetches `url`, and shows each piece of the body to `look`.
Visit visit(const std::string& url, const http::Via& via, const std::function<void(std::string_view)>& look) {
  const tulp::EventLoop& loop = tulp::get_event_loop();
  const tulp::TimePoint begin = loop.time();
  Visit visit{.url = url};
  try {
    http::Connections connections(via);
    http::Exchange exchange = http::get(connections, http::parse_url(url));
    visit.status = exchange.head().status;
    for (auto piece = exchange.read_body(); !piece.empty(); piece = exchange.read_body()) {
      visit.received_bytes += piece.size();
      look(piece);
    }
  } catch (const Failure& failure) {
    visit.error = failure.what();
    visit.code = failure.code();
  }
  visit.time = loop.time() - begin;
  return visit;
}

Visit visit_page(const Site& site, const std::string& base, const http::Via& via, std::size_t index) {
  const std::string body = site.body(index);
  std::string_view left = body;
  bool is_equal = true;
  Visit result = visit(base + site.path(index), via, [&](std::string_view piece) {
    is_equal = is_equal && left.starts_with(piece);
    left.remove_prefix(std::min(piece.size(), left.size()));
  });
  const bool breaks_off = site.pages()[index].kind->manner == Manner::broken_off;
  const std::size_t size_bytes = breaks_off ? body.size() / 2 : body.size();
  const ExitCode code = breaks_off ? ExitCode::partial_body : ExitCode::ok;
  result.is_as_expected =
      result.code == code && result.status == 200 && is_equal && result.received_bytes == size_bytes;
  return result;
}

/// With a limit, and good if the server says so.
Visit visit_stranger(const std::string& url, const http::Via& via) {
  try {
    Visit result = tulp::with_timeout(limit_per_url, [&] { return visit(url, via, [](std::string_view) {}); });
    result.is_as_expected = result.error.empty() && result.status < 300;
    return result;
  } catch (const tulp::TimeoutError&) {
    return {.url = url, .time = limit_per_url, .code = ExitCode::timed_out, .error = "timed out"};
  }
}

/// Makes all visits, with a live line on a terminal.  Returns how long that took.
std::chrono::nanoseconds visit_all(std::size_t count, std::size_t fiber_count, Visits& visits, Peak& peak,
                                   const std::function<Visit(std::size_t)>& make_visit) {
  const tulp::EventLoop& loop = tulp::get_event_loop();
  const tulp::TimePoint begin = loop.time();
  std::size_t done_count = 0;
  StatusLine status(STDERR_FILENO);
  const Ticker ticker(50ms, [&] {
    peak.look();
    const std::chrono::nanoseconds elapsed = loop.time() - begin;
    status.show("  [" + bar(done_count, count, 32) + "] " + std::to_string(done_count) + " of " +
                std::to_string(count) + " pages, " + in_time(elapsed));
  });
  visits.resize(count);
  for_each_concurrently(count, fiber_count, [&](std::size_t index) {
    visits[index] = make_visit(index);
    ++done_count;
  });
  return loop.time() - begin;
}

ExitCode visit_urls(const std::vector<std::string>& urls, const http::Via& via) {
  Visits visits;
  Peak peak;
  print("tulp demo: " + std::to_string(urls.size()) + (urls.size() == 1 ? " URL\n\n" : " URLs, all at once\n\n"));
  const auto elapsed =
      visit_all(urls.size(), 200, visits, peak, [&](std::size_t i) { return visit_stranger(urls[i], via); });
  print(tabulate(visits, elapsed, Colours(STDOUT_FILENO)));
  const auto bad = std::find_if(visits.begin(), visits.end(), [](const Visit& visit) { return !visit.is_as_expected; });
  if (bad == visits.end()) return ExitCode::ok;
  return bad->code == ExitCode::ok ? ExitCode::failed : bad->code;
}

tulp::Server start_site(const std::shared_ptr<const Site>& site, const DemoOptions& options) {
  return http::start_server(routes_of(site), "127.0.0.1", options.port, options.server_tls.context());
}

ExitCode visit_site(const DemoOptions& options) {
  const auto site = std::make_shared<const Site>(options.page_count);
  tulp::Server server = start_site(site, options);
  const std::string base =
      (options.server_tls.is_wanted() ? "https://" : "http://") + server.addresses().front().to_string();
  print("tulp demo: " + std::to_string(options.page_count) + " pages, fetched by " +
        std::to_string(options.fiber_count) + " fibers, from a server in the same thread\n\n  " + base +
        "/ has, each after a while as if it were far away:\n\n" + describe(*site) + "\n");

  Visits visits;
  Peak peak;
  const auto elapsed = visit_all(options.page_count, options.fiber_count, visits, peak,
                                 [&](std::size_t index) { return visit_page(*site, base, options.via, index); });
  server.close();
  print(summarize(*site, visits, elapsed, peak, Colours(STDOUT_FILENO)));

  ExitCode code = ExitCode::ok;
  for (const Visit& visit : visits) {
    if (visit.is_as_expected) continue;
    complain("tulp demo", visit.url + ": " + (visit.error.empty() ? "not the page that was expected" : visit.error));
    code = ExitCode::failed;
  }
  return code;
}

ExitCode serve_site(const DemoOptions& options) {
  const auto site = std::make_shared<const Site>(options.page_count);
  tulp::Server server = start_site(site, options);
  print("listening on " + server.addresses().front().to_string() + "\n");
  server.serve_forever();
  return ExitCode::ok;
}

ExitCode run(const DemoOptions& options) {
  raise_descriptor_limit();  // a fiber that fetches and the one that answers it hold one each
  if (options.only_serves) return serve_site(options);
  return options.urls.empty() ? visit_site(options) : visit_urls(options.urls, options.via);
}

}  // namespace

void add_demo(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<DemoOptions>();
  CLI::App* demo = app.add_subcommand("demo", "Fetch many pages at once, and say how that went");
  demo->add_option("URL", options->urls, "What to fetch; else the pages of a server of its own");
  demo->add_option("--pages", options->page_count, "How many pages the server has")
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->capture_default_str();
  demo->add_option("--fibers", options->fiber_count, "How many fetch at a time")
      ->check(CLI::Range(1, 100'000).description(""))
      ->capture_default_str();
  demo->add_flag("--serve", options->only_serves, "Only serve the pages, for others to fetch");
  demo->add_option("--port", options->port, "Where the server listens; 0 takes a free port")
      ->type_name("PORT")
      ->capture_default_str();
  options->server_tls.add_options(*demo);
  options->via.tls->add_options(*demo);
  demo->footer(
      "Examples: tulp demo\n"
      "          tulp demo http://example.org/ https://example.com/\n"
      "          tulp demo --tls-cert chain.pem --tls-key key.pem --cacert ca.pem");
  demo->callback([&chosen, options] { chosen = [options] { return run(*options); }; });
}

}  // namespace tool
