// tulp fetch: prints what URLs hold, or keeps it in a file.
#include <sys/socket.h>
#include <unistd.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "concurrently.hpp"
#include "http/client.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "unix_name.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

/// As many descriptors as every system gives, with some to spare.
constexpr std::size_t most_at_once = 200;

struct FetchOptions {
  std::vector<std::string> urls;
  std::string output = "-";
  bool include_head = false;
  double timeout_seconds = std::numeric_limits<double>::infinity();
  unsigned max_redirects = 10;
  http::Via via;
};

/// How far one URL is.
struct Transfer {
  std::uint64_t received_bytes = 0;
  std::optional<std::uint64_t> expected_bytes = std::nullopt;
  bool has_ended = false;
  ExitCode code = ExitCode::ok;
};

/// "500 of 1000 bytes received".
std::string progress_of(const Transfer& transfer) {
  std::string text = std::to_string(transfer.received_bytes);
  if (transfer.expected_bytes) text += " of " + std::to_string(*transfer.expected_bytes);
  return text + " bytes received";
}

/// All URLs of one command line.
class Fetch {
 public:
  explicit Fetch(const FetchOptions& options)
      : options_(options), transfers_(options.urls.size()), stdout_(STDOUT_FILENO, "stdout", options.urls.size()) {}

  ExitCode run();

 private:
  void fetch_or_complain(std::size_t index);
  void fetch(std::size_t index);
  template <class Write>
  void transfer(const http::Url& url, Transfer& transfer, Write write);
  void show_progress();

  const FetchOptions& options_;
  http::Connections connections_{options_.via};
  std::vector<Transfer> transfers_;
  OrderedOutput stdout_;
  StatusLine status_{STDERR_FILENO};
  const tulp::TimePoint begin_ = tulp::get_event_loop().time();
};

ExitCode Fetch::run() {
  const bool shows_progress = status_.is_visible() && (options_.output != "-" || ::isatty(STDOUT_FILENO) == 0);
  std::optional<Ticker> ticker;
  if (shows_progress) ticker.emplace(100ms, [this] { show_progress(); });
  for_each_concurrently(transfers_.size(), most_at_once, [this](std::size_t index) {
    fetch_or_complain(index);
    transfers_[index].has_ended = true;
    stdout_.finish(index);
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
  if (options_.output == "-") {
    return transfer(url, transfers_[index], [&](std::string_view data) { stdout_.write(index, data); });
  }
  OutputFile file(options_.output);
  transfer(url, transfers_[index], [&](std::string_view data) { file.write(data); });
  file.commit();
}

/// From the first packet to the last byte.
template <class Write>
void Fetch::transfer(const http::Url& url, Transfer& transfer, Write write) {
  const auto print_head = [&](const http::ResponseHead& head) {
    if (options_.include_head) write(head.text);
  };
  const std::chrono::duration<double> limit(options_.timeout_seconds);
  try {
    tulp::with_timeout(limit, [&] {
      http::Exchange exchange =
          http::get(connections_, url, {}, {.max_redirects = options_.max_redirects, .on_head = print_head});
      transfer.expected_bytes = exchange.head().content_length;
      for (auto piece = exchange.read_body(); !piece.empty(); piece = exchange.read_body()) {
        transfer.received_bytes += piece.size();
        write(piece);
      }
    });
  } catch (const tulp::TimeoutError&) {
    throw Failure(ExitCode::timed_out, "timed out after " + in_time(limit));
  }
}

void Fetch::show_progress() {
  std::uint64_t received = 0;
  std::optional<std::uint64_t> expected = 0;
  std::size_t ended_count = 0;
  for (const Transfer& transfer : transfers_) {
    received += transfer.received_bytes;
    ended_count += transfer.has_ended ? 1 : 0;
    const auto share = transfer.has_ended ? transfer.received_bytes : transfer.expected_bytes;
    expected = expected && share ? std::optional(*expected + *share) : std::nullopt;
  }
  const tulp::Duration elapsed = tulp::get_event_loop().time() - begin_;
  const double rate = static_cast<double>(received) / elapsed.seconds();
  std::string line = in_bytes(received);
  if (expected) line += " of " + in_bytes(*expected);
  line += ", " + in_bytes(static_cast<std::uint64_t>(rate)) + "/s";
  if (transfers_.size() > 1) {
    line += ", " + std::to_string(ended_count) + " of " + std::to_string(transfers_.size()) + " done";
  }
  status_.show(line);
}

std::string check_timeout(const std::string& text) {
  double seconds = 0;
  const bool is_number = CLI::detail::lexical_cast(text, seconds);
  return is_number && seconds > 0 ? "" : "must be a number of seconds above 0";
}

}  // namespace

void add_fetch(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<FetchOptions>();
  CLI::App* fetch = app.add_subcommand("fetch", "Print what URLs hold, or keep it in a file");
  fetch->add_option("URL", options->urls, "What to fetch: all at once, and printed in this order")->required();
  CLI::Option* output =
      fetch->add_option("-o,--output", options->output, "The file to write; it appears when it is complete (one URL)");
  fetch->add_flag("-i,--include", options->include_head, "Print the headers of the replies too");
  fetch->add_option("--timeout", options->timeout_seconds, "How many seconds each URL may take in all, as 2.5")
      ->check(check_timeout);
  fetch->add_option("--max-redirs", options->max_redirects, "How many redirects are followed")->capture_default_str();
  const auto set_unix_socket = [options](const std::string& path) { options->via.unix_socket = unix_name(path); };
  CLI::Option* unix_socket = fetch
                                 ->add_option_function<std::string>(
                                     "--unix-socket", set_unix_socket,
                                     "Connect to this Unix socket instead of the URL's host; @NAME is an abstract one")
                                 ->check(check_unix_name);
  const auto set_family = [options](int family) { return [options, family] { options->via.family = family; }; };
  CLI::Option* ipv4 = fetch->add_flag_callback("-4,--ipv4", set_family(AF_INET), "Use IPv4 addresses only");
  CLI::Option* ipv6 = fetch->add_flag_callback("-6,--ipv6", set_family(AF_INET6), "Use IPv6 addresses only");
  options->via.tls->add_options(*fetch);
  ipv4->excludes(ipv6)->excludes(unix_socket);
  ipv6->excludes(unix_socket);
  fetch->footer(std::string("Example: tulp fetch -o page.html http://example.org/\n\n") + exit_code_table +
                "\nWith several URLs all are fetched; the code is that of the first in this order that failed.");
  fetch->callback([&chosen, options, output] {
    if (output->count() > 0 && options->output != "-" && options->urls.size() > 1) {
      throw CLI::ValidationError("--output", "takes one URL");
    }
    chosen = [options] { return Fetch(*options).run(); };
  });
}

}  // namespace tool
