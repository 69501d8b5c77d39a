#include "bench/report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "format.hpp"

namespace tool::bench {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t most_rows = 12;

double seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

double per_second(std::uint64_t count, const Tally& tally) {
  return static_cast<double>(count) / std::max(seconds(tally.time), 1e-9);
}

/// So many columns wide, whatever bytes that takes.
std::string right(const std::string& text, std::size_t width) {
  const std::size_t columns = columns_of(text);
  return std::string(width - std::min(width, columns), ' ') + text;
}

nanoseconds in_nanoseconds(double count) { return nanoseconds(std::llround(count)); }

struct Row {
  nanoseconds low, high;
  std::uint64_t count = 0;
};

/// Round numbers between which latencies are counted: so many to a power of ten that all fit on a screen.
std::vector<Row> rows_of(const Histogram& latencies) {
  if (latencies.count() == 0) return {};
  static const std::vector<std::vector<double>> series = {
      {1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8}, {1, 1.6, 2.5, 4, 6.4}, {1, 2, 5}, {1}};
  const auto count_of = [](nanoseconds time) {
    return static_cast<double>(std::max<nanoseconds::rep>(time.count(), 100));
  };
  const double begin = count_of(latencies.min());
  const double end = count_of(latencies.percentile(99.9));
  std::vector<Row> rows;
  for (const auto& steps : series) {
    rows.clear();
    double low = -1;
    for (double power = std::pow(10, std::floor(std::log10(begin))); low < end; power *= 10) {
      for (const double step : steps) {
        const double high = std::round(step * power);
        if (low >= end) break;
        if (high >= begin) rows.push_back({in_nanoseconds(low), in_nanoseconds(high)});
        low = high;
      }
    }
    if (rows.size() <= most_rows) break;
  }
  rows.front().low = nanoseconds(-1);
  for (Row& row : rows) row.count = latencies.count_between(row.low, row.high);
  const nanoseconds last = rows.back().high;
  if (const auto rest = latencies.count_between(last, nanoseconds::max()))
    rows.push_back({last, nanoseconds::max(), rest});
  return rows;
}

/// As long as `share` of `columns`, to an eighth of a character; what is there is seen.
std::string bar(double share, std::size_t columns, bool has_unicode) {
  static constexpr std::array<const char*, 8> parts = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (share <= 0) return "";
  const double length = share * static_cast<double>(columns);
  if (!has_unicode) return std::string(std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(length))), '#');
  const auto eighths = std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(length * 8)));
  std::string text;
  for (std::size_t i = 0; i < eighths / 8; ++i) text += "█";
  return text + parts[eighths % 8];
}

std::string draw(const Histogram& latencies, const Page& page) {
  constexpr std::size_t label_columns = 22;
  const std::vector<Row> rows = rows_of(latencies);
  std::uint64_t most = 1;
  for (const Row& row : rows) most = std::max(most, row.count);
  const std::size_t columns = page.columns > label_columns + 8 ? page.columns - label_columns - 1 : 8;
  std::string text;
  for (const Row& row : rows) {
    const std::string limit = row.high == nanoseconds::max() ? "longer" : in_few_digits(row.high, page.has_unicode);
    const double percent = 100 * static_cast<double>(row.count) / static_cast<double>(latencies.count());
    const double share = static_cast<double>(row.count) / static_cast<double>(most);
    text += right(limit, 11) + format("  %5.1f %%  ", percent) + bar(share, columns, page.has_unicode);
    while (text.back() == ' ') text.pop_back();
    text += "\n";
  }
  return text;
}

std::string list_percentiles(const Histogram& latencies, const Page& page) {
  std::string text;
  const auto add = [&](const char* label, nanoseconds value) {
    text += right(label, 11) + "  " + right(in_few_digits(value, page.has_unicode), 8) + "\n";
  };
  add("50 %", latencies.percentile(50));
  add("90 %", latencies.percentile(90));
  add("99 %", latencies.percentile(99));
  add("99.9 %", latencies.percentile(99.9));
  add("max", latencies.max());
  return text;
}

std::string counted(std::uint64_t count, const std::string& noun) {
  return in_groups(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string describe(const Plan& plan) {
  std::string text = counted(plan.connection_count, plan.peer == Peer::datagrams ? "socket" : "connection");
  if (plan.thread_count > 1) text += " on " + counted(plan.thread_count, "thread");
  if (plan.pipeline > 1) text += ", " + std::to_string(plan.pipeline) + " requests at a time on each";
  if (plan.peer != Peer::http) text += ", " + counted(plan.size_bytes, "byte") + " each";
  if (plan.is_open_loop()) text += format(", due at %g/s", plan.rate);
  return text;
}

std::string list_failures(const Plan& plan, const Tally& tally, const Page& page) {
  std::string text;
  if (plan.peer == Peer::datagrams) {
    text += right(in_groups(tally.lost_count), 11) + "  lost\n";
    text += right(in_groups(tally.stray_count), 11) + "  late or twice\n";
  }
  const std::uint64_t errors = tally.errors.total();
  const std::string line = right(in_groups(errors), 11) + (errors == 1 ? "  error" : "  errors");
  text += (errors > 0 ? page.colours.bad(line) : line) + "\n";
  for (const auto& [kind, count] : tally.errors.by_kind()) {
    text += right(in_groups(count), 15) + "  " + printable(kind) + "\n";
  }
  return text;
}

nlohmann::ordered_json latencies_of(const Histogram& latencies) {
  nlohmann::ordered_json report = {
      {"min", seconds(latencies.min())},          {"mean", seconds(latencies.mean())},
      {"p50", seconds(latencies.percentile(50))}, {"p90", seconds(latencies.percentile(90))},
      {"p99", seconds(latencies.percentile(99))}, {"p99.9", seconds(latencies.percentile(99.9))},
      {"max", seconds(latencies.max())}};
  auto& rows = report["histogram"] = nlohmann::ordered_json::array();
  for (const Row& row : rows_of(latencies)) {
    const nanoseconds high = std::min(row.high, latencies.max());
    rows.push_back({{"up_to", seconds(high)}, {"count", row.count}});
  }
  return report;
}

}  // namespace

std::string in_few_digits(nanoseconds span, bool has_unicode) {
  struct Unit {
    double seconds;
    const char* name;
  };
  const std::array<Unit, 4> units = {{{1, "s"}, {1e-3, "ms"}, {1e-6, has_unicode ? "µs" : "us"}, {1e-9, "ns"}}};
  const double value = seconds(span);
  const auto unit =
      std::find_if(units.begin(), units.end() - 1, [&](const Unit& u) { return value >= u.seconds * 0.9995; });
  const double number = value / unit->seconds;
  return format(number < 9.995 ? "%.2f %s" : number < 99.95 ? "%.1f %s" : "%.0f %s", number, unit->name);
}

std::string in_groups(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (auto place = static_cast<std::ptrdiff_t>(text.size()) - 3; place > 0; place -= 3) {
    text.insert(static_cast<std::size_t>(place), ",");
  }
  return text;
}

std::string to_text(const Plan& plan, const Tally& tally, const Page& page) {
  const auto rate = static_cast<std::uint64_t>(std::llround(per_second(tally.answered_count, tally)));
  const auto bytes = static_cast<std::uint64_t>(per_second(tally.received_bytes, tally));
  std::string text = page.colours.bold(plan.target) + "\n" + describe(plan) + "\n\n";
  text += right(in_groups(tally.answered_count), 11) + "  answers in " + in_time(tally.time) + "\n";
  text += page.colours.bold(right(in_groups(rate), 11) + "  answers/s") + "\n";
  text += right(in_bytes(bytes), 11) + "/s received\n";
  text += list_failures(plan, tally, page);
  if (tally.latencies.count() > 0) {
    text += "\n" + page.colours.bold("Latency") + (plan.is_open_loop() ? ", from when a request was due\n" : "\n");
    text += list_percentiles(tally.latencies, page) + "\n" + page.colours.bold("Up to") + "\n";
    text += draw(tally.latencies, page);
  }
  if (tally.owed_count > 0) {
    text += "\nThe rate was not reached: at the end " + counted(tally.owed_count, "request") + " had not been sent.\n";
  }
  if (tally.reopened_count > 0) {
    text += "\nThe server ended " + counted(tally.reopened_count, "connection") + ", which were opened anew.\n";
  }
  return text;
}

std::string to_json(const Plan& plan, const Tally& tally) {
  nlohmann::ordered_json report = {{"target", plan.target},
                                   {"connections", plan.connection_count},
                                   {"threads", plan.thread_count},
                                   {"pipeline", plan.pipeline}};
  if (plan.peer != Peer::http) report["message_bytes"] = plan.size_bytes;
  if (plan.is_open_loop()) {
    report["rate"] = plan.rate;
    report["not_sent_in_time"] = tally.owed_count;
  }
  report["seconds"] = seconds(tally.time);
  report["answers"] = tally.answered_count;
  report["answers_per_second"] = per_second(tally.answered_count, tally);
  report["bytes_per_second"] = per_second(tally.received_bytes, tally);
  if (plan.peer == Peer::datagrams) {
    report["lost"] = tally.lost_count;
    report["late_or_twice"] = tally.stray_count;
  }
  if (plan.peer == Peer::http) report["connections_reopened"] = tally.reopened_count;
  report["error_count"] = tally.errors.total();
  report["errors"] = tally.errors.by_kind();
  report["latency_seconds"] = latencies_of(tally.latencies);
  return report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace tool::bench
