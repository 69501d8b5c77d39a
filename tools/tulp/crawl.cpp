// tulp crawl: follows the links of a site, and says what it found.
#include <strings.h>
#include <unistd.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "command.hpp"
#include "crawl/links.hpp"
#include "crawl/report.hpp"
#include "crawl/site_rules.hpp"
#include "http/client.hpp"
#include "http/public_address.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "tls.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;
using crawl::Page;

/// No page that people read is longer, and what is searched is kept in memory.
constexpr std::size_t most_searched_bytes = 4 * 1024 * 1024;
constexpr std::size_t longest_shown_reference = 1000;

struct CrawlOptions {
  std::string url;
  std::size_t max_pages = 1000;
  unsigned max_depth = 20;
  std::uint64_t max_bytes = 1'000'000'000;
  std::size_t job_count = 10;
  double timeout_seconds = 30;
  bool goes_everywhere = false;
  bool visits_private = false;
  bool ignores_robots = false;
  bool prints_json = false;
  http::Via via;
};

/// As Content-Type says.
bool is_html(const http::ResponseHead& head) {
  const std::string* type = http::find(head.fields, "Content-Type");
  if (type == nullptr) return false;
  const auto begins_with = [type](const char* kind) {
    return ::strncasecmp(type->c_str(), kind, std::strlen(kind)) == 0;
  };
  return begins_with("text/html") || begins_with("application/xhtml");
}

/// "utf-8" of "text/html; charset=utf-8"; empty if there is none.
std::string charset_of(const http::ResponseHead& head) {
  const char* begin = ::strcasestr(http::find(head.fields, "Content-Type")->c_str(), "charset=");
  if (begin == nullptr) return "";
  const std::string_view rest = std::string_view(begin).substr(std::strlen("charset="));
  const std::size_t quote = rest.starts_with('"') ? 1 : 0;
  return std::string(rest.substr(quote, rest.find_first_of("\"; ", quote) - quote));
}

/// One crawl.  Each worker takes a page from the queue, and puts what the page leads to behind.
class Crawl {
 public:
  explicit Crawl(const CrawlOptions& options) : options_(options), begin_(http::parse_url(options.url)) {}

  ExitCode run();

 private:
  void work();
  bool is_allowed(Page& page, const http::Url& url);
  void visit(Page& page, const http::Url& url);
  template <class F>
  void note_failure(Page& page, F f);
  void read(Page& page, const http::Url& url);
  void read_links(Page& page, const http::Url& url, http::Exchange& exchange);
  void follow(const Page& from, const http::Url& base, const std::string& reference);
  void add(http::Url url, const Page* from);
  void add_malformed(const std::string& reference, const Page& from, const Failure& failure);
  void leave_out(const std::string& url);
  void count(Page& page, std::size_t bytes);
  void note_limit(const std::string& limit);
  void show_progress();

  struct Job {
    std::size_t page;
    http::Url url;
  };

  const CrawlOptions& options_;
  const http::Url begin_;
  const tulp::TimePoint start_ = tulp::get_event_loop().time();
  http::Connections connections_{options_.via};
  crawl::SiteRules rules_{connections_};
  std::unordered_set<std::string> seen_;
  std::deque<Page> pages_;  // they stay where they are
  tulp::Queue<Job> jobs_;
  bool is_over_ = false;  // more has come than is wanted in all
  std::size_t visited_count_ = 0;
  std::size_t broken_count_ = 0;
  crawl::Findings findings_;
  StatusLine status_{STDERR_FILENO};
};

ExitCode Crawl::run() {
  const Ticker ticker(100ms, [this] { show_progress(); });
  add(begin_, nullptr);
  tulp::with_task_group([this](tulp::TaskGroup& group) {
    for (std::size_t i = 0; i < options_.job_count; ++i) group.create_task([this] { work(); });
    jobs_.join();
    group.cancel();
  });
  status_.clear();
  findings_.pages.assign(pages_.begin(), pages_.end());
  findings_.time = tulp::get_event_loop().time() - start_;
  write_all(STDOUT_FILENO, options_.prints_json ? to_json(findings_) : to_text(findings_), "stdout");
  if (pages_.front().code != ExitCode::ok) return pages_.front().code;
  return broken_count_ > 0 ? ExitCode::failed : ExitCode::ok;
}

void Crawl::work() {
  for (;;) {
    const Job job = jobs_.get();
    Page& page = pages_[job.page];
    if (!is_over_ && (options_.ignores_robots || is_allowed(page, job.url))) visit(page, job.url);
    if (page.was_visited) ++visited_count_;
    jobs_.task_done();
  }
}

/// Whether the site lets it be visited.  Where that cannot be known, `page` says why.
bool Crawl::is_allowed(Page& page, const http::Url& url) {
  bool is_known = false, is_allowed = false;
  note_failure(page, [&] {
    is_allowed = rules_.allow(url, page.reach);
    is_known = true;
  });
  if (is_known && !is_allowed && page.depth == 0) {
    note_failure(page, [] { throw Failure(ExitCode::failed, "robots.txt forbids it; --ignore-robots visits it"); });
  } else if (is_known && !is_allowed) {
    leave_out(page.url);
  }
  return is_allowed;
}

/// Whatever becomes of it, `page` says so.
void Crawl::visit(Page& page, const http::Url& url) {
  const tulp::TimePoint begin = tulp::get_event_loop().time();
  note_failure(page, [&] { read(page, url); });
  page.time = tulp::get_event_loop().time() - begin;
  page.was_visited = true;
  if (page.status >= 400 && page.code == ExitCode::ok) ++broken_count_;
}

/// Calls `f`, with the time limit of a page.
template <class F>
void Crawl::note_failure(Page& page, F f) {
  const std::chrono::duration<double> limit(options_.timeout_seconds);
  try {
    return tulp::with_timeout(limit, f);
  } catch (const Failure& failure) {
    page.code = failure.code();
    page.error = failure.what();
  } catch (const tulp::TimeoutError&) {
    page.code = ExitCode::timed_out;
    page.error = "timed out after " + in_time(limit);
  }
  page.was_visited = true;
  ++broken_count_;
}

void Crawl::read(Page& page, const http::Url& url) {
  http::Exchange exchange(connections_, url, {.reach = page.reach});
  page.status = exchange.head().status;
  page.is_public = http::is_public(exchange.peer());
  if (const auto location = exchange.redirection()) {
    follow(page, url, std::string(*location));
    return exchange.skip_body();
  }
  const bool is_ours = options_.goes_everywhere || url.host == begin_.host;
  if (is_html(exchange.head()) && is_ours && page.status < 400) return read_links(page, url, exchange);
  for (auto piece = exchange.read_body(); !piece.empty(); piece = exchange.read_body()) count(page, piece.size());
}

void Crawl::read_links(Page& page, const http::Url& url, http::Exchange& exchange) {
  http::Url base = url;
  std::vector<std::string> references;
  std::string base_reference;
  crawl::LinkFinder finder([&](const std::string& reference) { references.push_back(reference); },
                           [&](const std::string& reference) { base_reference = reference; },
                           charset_of(exchange.head()));
  for (auto piece = exchange.read_body(); !piece.empty(); piece = exchange.read_body()) {
    count(page, piece.size());
    if (page.received_bytes > most_searched_bytes) {
      note_limit("the 4 MiB of a page in which links are looked for");
      continue;
    }
    finder.read(piece);
    if (!base_reference.empty()) base = http::resolve(url, std::exchange(base_reference, {}));
    for (const std::string& reference : references) follow(page, base, reference);
    references.clear();
  }
}

void Crawl::follow(const Page& from, const http::Url& base, const std::string& reference) {
  try {
    http::Url url = http::resolve(base, reference);
    if (options_.goes_everywhere || url.host == begin_.host) add(std::move(url), &from);
  } catch (const Failure& failure) {
    if (failure.code() != ExitCode::unsupported_scheme) add_malformed(reference, from, failure);
  }
}

void Crawl::add(http::Url url, const Page* from) {
  std::string name = url.to_string();
  if (is_over_ || seen_.contains(name)) return;
  const bool may_go_anywhere = from == nullptr || !from->is_public || options_.visits_private;
  const http::Reach reach = may_go_anywhere ? http::Reach::anywhere : http::Reach::public_only;
  if (!options_.ignores_robots && rules_.are_known_to_forbid(url, reach)) return leave_out(name);
  const unsigned depth = from != nullptr ? from->depth + 1 : 0;
  if (depth > options_.max_depth) return note_limit("--max-depth " + std::to_string(options_.max_depth));
  if (pages_.size() >= options_.max_pages) return note_limit("--max-pages " + std::to_string(options_.max_pages));
  seen_.insert(name);
  jobs_.put_nowait({pages_.size(), std::move(url)});
  pages_.push_back(
      {.url = std::move(name), .found_on = from != nullptr ? from->url : "", .depth = depth, .reach = reach});
}

void Crawl::add_malformed(const std::string& reference, const Page& from, const Failure& failure) {
  const std::string name = reference.substr(0, longest_shown_reference);
  if (is_over_ || seen_.contains(name)) return;
  if (pages_.size() >= options_.max_pages) return note_limit("--max-pages " + std::to_string(options_.max_pages));
  seen_.insert(name);
  pages_.push_back({.url = name,
                    .found_on = from.url,
                    .depth = from.depth + 1,
                    .code = failure.code(),
                    .error = failure.what(),
                    .was_visited = true});
  ++visited_count_;
  ++broken_count_;
}

/// As many are remembered as there may be pages.
void Crawl::leave_out(const std::string& url) {
  seen_.insert(url);
  if (findings_.forbidden.size() < options_.max_pages) return findings_.forbidden.push_back(url);
  note_limit("robots.txt");
}

void Crawl::count(Page& page, std::size_t bytes) {
  page.received_bytes += bytes;
  findings_.received_bytes += bytes;
  if (findings_.received_bytes <= options_.max_bytes) return;
  is_over_ = true;
  note_limit("--max-bytes " + std::to_string(options_.max_bytes));
  throw Failure(ExitCode::failed, "not read to its end, for --max-bytes");
}

void Crawl::note_limit(const std::string& limit) {
  auto& limits = findings_.limits;
  if (std::find(limits.begin(), limits.end(), limit) == limits.end()) limits.push_back(limit);
}

void Crawl::show_progress() {
  const std::chrono::duration<double> elapsed = tulp::get_event_loop().time() - start_;
  status_.show(std::to_string(visited_count_) + " of " + std::to_string(pages_.size()) + " pages, " +
               std::to_string(broken_count_) + " broken, " + in_bytes(findings_.received_bytes) + ", " +
               std::to_string(static_cast<std::uint64_t>(static_cast<double>(visited_count_) / elapsed.count())) +
               " pages/s");
}

}  // namespace

void add_crawl(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<CrawlOptions>();
  CLI::App* crawl = app.add_subcommand("crawl", "Follow the links of a site, and say what is broken or slow");
  crawl->add_option("URL", options->url, "Where to begin")->required();
  crawl->add_option("--max-pages", options->max_pages, "How many pages are visited")
      ->check(CLI::PositiveNumber.description(""))
      ->capture_default_str();
  crawl->add_option("--max-depth", options->max_depth, "How many links from the beginning")->capture_default_str();
  crawl->add_option("--max-bytes", options->max_bytes, "How much is read in all")
      ->type_name("BYTES")
      ->capture_default_str();
  crawl->add_option("-j,--jobs", options->job_count, "How many pages at a time")
      ->check(CLI::Range(1, 1000).description(""))
      ->capture_default_str();
  crawl->add_option("--timeout", options->timeout_seconds, "How many seconds each page may take")
      ->check(CLI::PositiveNumber.description(""))
      ->capture_default_str();
  crawl->add_flag("--all-hosts", options->goes_everywhere, "Follow links to other hosts too");
  crawl->add_flag("--private", options->visits_private,
                  "Let pages of public servers lead to private addresses and to this machine");
  crawl->add_flag("--ignore-robots", options->ignores_robots, "Visit what robots.txt forbids");
  crawl->add_flag("--json", options->prints_json, "Report every page, as JSON");
  options->via.tls->add_options(*crawl);
  crawl->footer(
      "Example: tulp crawl --max-pages 200 http://localhost:8000/\n\n"
      "Each page is visited once, if robots.txt allows it to \"tulp\".  A connection is used again and again.\n\n"
      "Exit code: 0 if nothing is broken, 1 if something is; as tulp fetch's if the first page cannot be had.");
  crawl->callback([&chosen, options] { chosen = [options] { return Crawl(*options).run(); }; });
}

}  // namespace tool
