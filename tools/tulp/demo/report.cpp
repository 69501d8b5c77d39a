#include "demo/report.hpp"

#include <tulp/task.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <numeric>
#include <system_error>

#include "format.hpp"
#include "terminal.hpp"

namespace tool::demo {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

std::string counted(std::size_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

double ratio(nanoseconds a, nanoseconds b) { return static_cast<double>(a.count()) / static_cast<double>(b.count()); }

std::uint64_t total_bytes(const Visits& visits) {
  return std::accumulate(visits.begin(), visits.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Visit& visit) { return sum + visit.received_bytes; });
}

std::size_t count_expected(const Visits& visits) {
  return static_cast<std::size_t>(
      std::count_if(visits.begin(), visits.end(), [](const Visit& visit) { return visit.is_as_expected; }));
}

std::vector<nanoseconds> sorted_times(const Visits& visits) {
  std::vector<nanoseconds> times;
  for (const Visit& visit : visits) times.push_back(visit.time);
  std::sort(times.begin(), times.end());
  return times;
}

/// The smallest time that `percent` of the sorted ones do not exceed.
nanoseconds percentile(const std::vector<nanoseconds>& times, std::size_t percent) {
  const std::size_t rank = (times.size() * percent + 99) / 100;
  return times[std::max<std::size_t>(rank, 1) - 1];
}

std::string in_round_time(std::chrono::milliseconds time) {
  return time < 1s ? std::to_string(time / 1ms) + " ms" : std::to_string(time / 1s) + " s";
}

/// A row for each step of 1, 2, 5, 10, ... milliseconds, as far as there is something in it.
std::string histogram(const std::vector<nanoseconds>& times) {
  constexpr std::array limits{1ms, 2ms, 5ms, 10ms, 20ms, 50ms, 100ms, 200ms, 500ms, 1000ms, 2000ms, 5000ms, 10000ms};
  std::array<std::size_t, limits.size() + 1> counts{};
  for (const nanoseconds time : times) {
    ++counts[static_cast<std::size_t>(std::upper_bound(limits.begin(), limits.end(), time) - limits.begin())];
  }
  const std::size_t most = *std::max_element(counts.begin(), counts.end());
  const auto is_filled = [](std::size_t count) { return count > 0; };
  const auto first = std::find_if(counts.begin(), counts.end(), is_filled);
  const auto last = std::find_if(counts.rbegin(), counts.rend(), is_filled).base();
  std::string rows;
  for (auto count = first; count != last; ++count) {
    const auto row = static_cast<std::size_t>(count - counts.begin());
    const std::string label = row < limits.size() ? "under " + in_round_time(limits[row]) : "more";
    const std::string hashes(*count == 0 ? 0 : std::max<std::size_t>(*count * 48 / most, 1), '#');
    rows += format("  %14s  %-48s %6zu\n", label.c_str(), hashes.c_str(), *count);
  }
  return rows;
}

std::string describe_latencies(const Visits& visits) {
  const auto times = sorted_times(visits);
  return "  Half of the pages came within " + in_time(percentile(times, 50)) + ", 90 % within " +
         in_time(percentile(times, 90)) + ", 99 % within " + in_time(percentile(times, 99)) + ".\n";
}

std::string range_of(const Kind& kind) {
  const std::string longest = in_time(kind.longest_wait);
  if (kind.shortest_wait == kind.longest_wait) return longest;
  return std::to_string(kind.shortest_wait / 1ms) + " to " + longest;
}

const char* describe(Manner manner) {
  switch (manner) {
    case Manner::plain: return "";
    case Manner::in_chunks: return ", bit by bit";
    case Manner::redirected: return ", behind a redirect";
    case Manner::broken_off: return ", but breaks off half-way";
  }
  return "";
}

/// The middle goes first when there is too much.
std::string shortened(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  const std::size_t half = (width - 3) / 2;
  return text.substr(0, width - 3 - half) + "..." + text.substr(text.size() - half);
}

std::size_t count_threads() {
  std::error_code error;
  const std::filesystem::directory_iterator threads("/proc/self/task", error);
  return error ? 0 : static_cast<std::size_t>(std::distance(begin(threads), end(threads)));
}

std::string row(const Visit& visit, const Colours& colours) {
  const std::string status = visit.status == 0 ? "-" : std::to_string(visit.status);
  const std::string left =
      format("  %-6s  %9s  %8s  ", status.c_str(), in_bytes(visit.received_bytes).c_str(), in_time(visit.time).c_str());
  const std::string url = shortened(printable(visit.url), 80 - left.size());
  if (visit.error.empty()) return left + (visit.is_as_expected ? url : colours.bad(url)) + "\n";
  return left + colours.bad(url) + "\n          " + shortened(printable(visit.error), 70) + "\n";
}

}  // namespace

void Peak::look() {
  thread_count = std::max(thread_count, count_threads());
  const auto tasks = tulp::all_tasks();
  if (tasks.size() <= fiber_count) return;
  fiber_count = tasks.size();
  std::size_t used_bytes = 0;
  for (const auto& task : tasks) used_bytes += task.stack_high_water_bytes();
  stack_bytes = used_bytes / fiber_count;
}

std::string describe(const Site& site) {
  std::string lines;
  for (const Kind& kind : kinds()) {
    const std::size_t count = site.count(kind);
    if (count == 0) continue;
    lines += format("  %6zu  %-8s  %8s after %s%s\n", count, std::string(kind.name).c_str(),
                    in_bytes(kind.size_bytes).c_str(), range_of(kind).c_str(), describe(kind.manner));
  }
  return lines;
}

std::string bar(std::size_t done, std::size_t all, std::size_t width) {
  const std::size_t filled = all == 0 ? width : width * done / all;
  return std::string(filled, '#') + std::string(width - filled, '-');
}

std::string summarize(const Site& site, const Visits& visits, nanoseconds elapsed, const Peak& peak,
                      const Colours& colours) {
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const auto per_second = [&](auto amount) { return static_cast<double>(amount) / seconds; };
  const std::size_t expected_count = count_expected(visits);
  const std::string verdict =
      expected_count == visits.size()
          ? colours.good("all " + counted(visits.size(), "page")) + ", byte for byte, and the broken one noticed"
          : colours.bad("only " + std::to_string(expected_count) + " of " + counted(visits.size(), "page"));
  const std::string threads = peak.thread_count > 0 ? counted(peak.thread_count, "thread") : "one thread";

  std::string text = colours.bold("  Done in  ") + in_time(elapsed) +
                     format(": %.0f pages and ", per_second(visits.size())) +
                     in_bytes(static_cast<std::uint64_t>(per_second(total_bytes(visits)))) + " per second\n";
  text += colours.bold("  Correct  ") + verdict + "\n";
  text += colours.bold("  Waiting  ") + "one by one, the waits alone take " + in_time(site.total_wait()) +
          format(", %.0f times as long\n", ratio(site.total_wait(), elapsed));
  text += colours.bold("  Fibers   ") + std::to_string(peak.fiber_count) + " at once on " + threads + ", with " +
          format("%.1f KiB", static_cast<double>(peak.stack_bytes) / 1024) + " of stack in use by each\n\n";
  return text + describe_latencies(visits) + histogram(sorted_times(visits));
}

std::string tabulate(const Visits& visits, nanoseconds elapsed, const Colours& colours) {
  std::string text = colours.bold(format("  %-6s  %9s  %8s  %s", "status", "size", "time", "URL")) + "\n";
  nanoseconds one_by_one{};
  for (const Visit& visit : visits) {
    text += row(visit, colours);
    one_by_one += visit.time;
  }
  return text + "\n  " + std::to_string(count_expected(visits)) + " of " + counted(visits.size(), "page") + ", " +
         in_bytes(total_bytes(visits)) + ", in " + in_time(elapsed) + "; one after another " + in_time(one_by_one) +
         "\n";
}

}  // namespace tool::demo
