// tulp fetch: prints what URLs hold, or keeps it in files.
#include <unistd.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "concurrently.hpp"
#include "fetch/options.hpp"
#include "fetch/resumption.hpp"
#include "http/client.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

/// How far one URL is.
struct Transfer {
  std::string name = {};        ///< for a person
  std::uint64_t had_bytes = 0;  ///< left by an earlier transfer
  std::uint64_t received_bytes = 0;
  std::optional<std::uint64_t> expected_bytes = std::nullopt;
  bool has_ended = false;
  Rate rate = {};
  ExitCode code = ExitCode::ok;

  Meter meter() const {
    const auto total = expected_bytes ? std::optional(had_bytes + *expected_bytes) : std::nullopt;
    return {name, had_bytes + received_bytes, total, rate.bytes_per_second()};
  }
};

/// "500 of 1000 bytes received".
std::string progress_of(const Transfer& transfer) {
  std::string text = std::to_string(transfer.received_bytes);
  if (transfer.expected_bytes) text += " of " + std::to_string(*transfer.expected_bytes);
  return text + " bytes received";
}

/// The file's, or else the URL's, without what goes without saying.
std::string short_name(const std::string& url, const std::string& output) {
  const std::size_t scheme = url.find("://");
  const std::string place = scheme == std::string::npos ? url : url.substr(scheme + 3);
  return printable(output == "-" ? place : output.substr(output.rfind('/') + 1));
}

std::string describe_status(const http::ResponseHead& head) {
  return "the server answered " + std::to_string(head.status) + " " + head.reason;
}

/// All URLs of one command line.
class Fetch {
 public:
  explicit Fetch(const fetch::Options& options);

  ExitCode run();

 private:
  void fetch_or_complain(std::size_t index);
  void fetch(std::size_t index);
  void resume(const http::Url& url, Transfer& transfer, const std::string& path);
  template <class Write>
  void transfer(const http::Url& url, const http::Request& request, Transfer& transfer, Write write);
  template <class Write>
  void read_body(http::Exchange& exchange, Transfer& transfer, Write write);
  void check_size(const Transfer& transfer, std::uint64_t bytes) const;
  void show_progress();
  std::string summary();

  const fetch::Options& options_;
  http::Request request_;
  http::Connections connections_;
  std::vector<Transfer> transfers_;
  std::size_t begun_count_ = 0;
  std::size_t ended_count_ = 0;
  OrderedOutput stdout_;
  Rate rate_;
  StatusLines status_{STDERR_FILENO};
};

Fetch::Fetch(const fetch::Options& options)
    : options_(options),
      connections_(options.via),
      transfers_(options.urls.size()),
      stdout_(STDOUT_FILENO, "stdout", options.urls.size()) {
  for (std::size_t i = 0; i < transfers_.size(); ++i) {
    transfers_[i].name = short_name(options.urls[i], options.outputs[i]);
  }
}

ExitCode Fetch::run() {
  request_ = fetch::request_of(options_);
  const bool prints = std::count(options_.outputs.begin(), options_.outputs.end(), "-") > 0;
  const bool shows_progress = status_.is_visible() && !options_.is_silent && !(prints && ::isatty(STDOUT_FILENO) == 1);
  rate_.note(0, tulp::get_event_loop().time());
  std::optional<Ticker> ticker;
  if (shows_progress) ticker.emplace(100ms, [this] { show_progress(); });
  for_each_concurrently(transfers_.size(), options_.job_count, [this](std::size_t index) {
    ++begun_count_;
    fetch_or_complain(index);
    transfers_[index].has_ended = true;
    ++ended_count_;
    stdout_.finish(index);
    if (begun_count_ == transfers_.size()) connections_.close_kept();
  });
  const auto failed = std::find_if(transfers_.begin(), transfers_.end(),
                                   [](const Transfer& transfer) { return transfer.code != ExitCode::ok; });
  return failed == transfers_.end() ? ExitCode::ok : failed->code;
}

void Fetch::fetch_or_complain(std::size_t index) {
  Transfer& transfer = transfers_[index];
  try {
    fetch(index);
  } catch (const WriteError&) {
    throw;  // the other URLs have nowhere to go either
  } catch (const Failure& failure) {
    status_.clear();
    const std::string how_far = transfer.received_bytes > 0 ? ", " + progress_of(transfer) : "";
    complain("tulp fetch", options_.urls[index] + ": " + failure.what() + how_far);
    transfer.code = failure.code();
  }
}

void Fetch::fetch(std::size_t index) {
  const http::Url url = http::parse_url(options_.urls[index]);
  const std::string& output = options_.outputs[index];
  Transfer& state = transfers_[index];
  if (output == "-") {
    return transfer(url, request_, state, [&](std::string_view data) { stdout_.write(index, data); });
  }
  if (options_.resumes) return resume(url, state, output);
  OutputFile file(output);
  transfer(url, request_, state, [&](std::string_view data) { file.write(data); });
  file.commit();
}

void Fetch::resume(const http::Url& url, Transfer& state, const std::string& path) {
  PartialFile file(path);
  state.had_bytes = file.begin_bytes();
  http::Request request = request_;
  if (state.had_bytes > 0) request.fields.push_back(fetch::range_from(state.had_bytes));
  transfer(url, request, state, [&](std::string_view data) { file.write(data); });
  file.commit();
}

/// From the first packet to the last byte.
template <class Write>
void Fetch::transfer(const http::Url& url, const http::Request& request, Transfer& transfer, Write write) {
  const auto print_head = [&](const http::ResponseHead& head) {
    if (options_.includes_heads || options_.wants_head_only) write(head.text);
  };
  const std::chrono::duration<double> limit(options_.timeout_seconds);
  transfer.rate.note(transfer.had_bytes, tulp::get_event_loop().time());
  try {
    tulp::with_timeout(limit, [&] {
      http::Exchange exchange =
          http::get(connections_, url, request, {.max_redirects = options_.max_redirects, .on_head = print_head});
      read_body(exchange, transfer, write);
    });
  } catch (const tulp::TimeoutError&) {
    throw Failure(ExitCode::timed_out, "timed out after " + in_time(limit));
  }
}

template <class Write>
void Fetch::read_body(http::Exchange& exchange, Transfer& transfer, Write write) {
  const http::ResponseHead& head = exchange.head();
  const bool is_range = options_.resumes && transfer.had_bytes > 0;
  const bool is_error = head.status >= 400 && !(is_range && head.status == 416);
  if (is_error && (options_.fails_on_errors || options_.resumes)) {
    throw Failure(ExitCode::http_error, describe_status(head));
  }
  if (is_range && fetch::judge(head, transfer.had_bytes) == fetch::Resumption::completed) return;
  if (options_.wants_head_only) return exchange.skip_body();
  transfer.expected_bytes = head.content_length;
  check_size(transfer, transfer.had_bytes + head.content_length.value_or(0));
  for (auto piece = exchange.read_body(); !piece.empty(); piece = exchange.read_body()) {
    check_size(transfer, transfer.had_bytes + transfer.received_bytes + piece.size());
    transfer.received_bytes += piece.size();
    write(piece);
  }
}

void Fetch::check_size(const Transfer& transfer, std::uint64_t bytes) const {
  if (bytes <= options_.max_bytes) return;
  const std::string size = transfer.expected_bytes ? std::to_string(bytes) + " bytes are " : "there is ";
  throw Failure(ExitCode::too_large, size + "more than --max-size " + std::to_string(options_.max_bytes));
}

void Fetch::show_progress() {
  const tulp::TimePoint now = tulp::get_event_loop().time();
  const bool are_many = transfers_.size() > 1;
  const std::size_t most = status_.height() - (are_many ? 1 : 0);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < begun_count_; ++i) {
    Transfer& transfer = transfers_[i];
    if (transfer.has_ended) continue;
    const Meter so_far = transfer.meter();
    transfer.rate.note(so_far.done_bytes, now);
    if (lines.size() < most) lines.push_back(to_line(transfer.meter(), status_.width()));
  }
  if (are_many) lines.push_back(summary().substr(0, status_.width()));
  status_.show(lines);
}

/// "3 of 20 done, 1.2 GB, 300.0 MB/s".
std::string Fetch::summary() {
  std::uint64_t received = 0;
  for (const Transfer& transfer : transfers_) received += transfer.received_bytes;
  rate_.note(received, tulp::get_event_loop().time());
  return std::to_string(ended_count_) + " of " + std::to_string(transfers_.size()) + " done, " + in_bytes(received) +
         ", " + in_bytes(static_cast<std::uint64_t>(rate_.bytes_per_second())) + "/s";
}

constexpr const char* fetch_help = R"(Example: tulp fetch -o page.html http://example.org/
         tulp fetch -C - -O https://example.org/big.iso       goes on where it has stopped
         tulp fetch -d name=value -H 'Accept: application/json' http://localhost:8000/form

Redirects are followed, but not from https to http.  Another server is not told what -H says of Authorization,
Cookie and Host.  What the server sends is kept as it is, compressed or not.  -C writes to the file in place, so
that what has come stays; without it a file appears when it is complete.  Proxies are not used, and *_proxy
variables not looked at.

An answer of 400 or more is printed, and the exit code is 0, unless --fail is given.

)";

}  // namespace

void add_fetch(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<fetch::Options>();
  CLI::App* command = app.add_subcommand("fetch", "Print what URLs hold, or keep it in files");
  fetch::add_options(*command, *options);
  command->footer(std::string(fetch_help) + exit_code_table +
                  "\nWith several URLs all are fetched; the code is that of the first in this order that failed.");
  command->callback([&chosen, options] {
    fetch::complete(*options);
    chosen = [options] { return Fetch(*options).run(); };
  });
}

}  // namespace tool
