#include "crawl/report.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>

#include "format.hpp"
#include "http/message.hpp"
#include "terminal.hpp"

namespace tool::crawl {
namespace {

using Selection = std::vector<const Page*>;

template <class Predicate>
Selection select(const Findings& findings, Predicate predicate) {
  Selection selected;
  for (const Page& page : findings.pages)
    if (predicate(page)) selected.push_back(&page);
  return selected;
}

std::string describe_status(unsigned status) {
  return status == 0 ? "no reply" : std::to_string(status) + " " + std::string(http::reason_phrase(status));
}

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::string tabulate_statuses(const Selection& visited) {
  std::map<unsigned, std::size_t> counts;
  for (const Page* page : visited) ++counts[page->status];
  std::string rows;
  for (const auto& [status, count] : counts) rows += format("  %7zu  %s\n", count, describe_status(status).c_str());
  return rows;
}

std::string list_broken(const Selection& broken) {
  if (broken.empty()) return "No broken links.\n";
  std::string rows = "Broken:\n";
  for (const Page* page : broken) {
    const std::string what = page->error.empty() ? describe_status(page->status) : page->error;
    rows += "  " + printable(page->url) + "\n      " + printable(what) + "\n";
    if (!page->found_on.empty()) rows += "      on " + printable(page->found_on) + "\n";
  }
  return rows;
}

std::string list_slowest(Selection visited) {
  if (visited.empty()) return "";
  const std::size_t most = std::min<std::size_t>(visited.size(), 5);
  std::sort(visited.begin(), visited.end(), [](const Page* a, const Page* b) { return a->time > b->time; });
  std::string rows = "Slowest, with half of the pages within " + in_time(visited[visited.size() / 2]->time) + ":\n";
  for (std::size_t i = 0; i < most; ++i)
    rows += format("  %9s  ", in_time(visited[i]->time).c_str()) + printable(visited[i]->url) + "\n";
  return rows;
}

}  // namespace

std::string to_text(const Findings& findings) {
  const Selection visited = select(findings, [](const Page& page) { return page.was_visited; });
  const Selection broken = select(findings, [](const Page& page) { return page.is_broken(); });
  std::string text = format("%zu pages, %s, in %s: %.0f pages/s\n\n", visited.size(),
                            in_bytes(findings.received_bytes).c_str(), in_time(findings.time).c_str(),
                            static_cast<double>(visited.size()) / std::max(seconds(findings.time), 1e-9));
  text += tabulate_statuses(visited) + "\n" + list_broken(broken) + "\n" + list_slowest(visited);
  if (const std::size_t count = findings.forbidden.size(); count > 0)
    text += format("\n%zu %s not visited: robots.txt forbids it.\n", count, count == 1 ? "link was" : "links were");
  for (const std::string& limit : findings.limits) text += "\nThere was more, but for " + limit + ".\n";
  return text;
}

std::string to_json(const Findings& findings) {
  nlohmann::json pages = nlohmann::json::array();
  for (const Page* page : select(findings, [](const Page& page) { return page.was_visited; })) {
    nlohmann::json entry = {{"url", page->url},
                            {"depth", page->depth},
                            {"status", page->status},
                            {"bytes", page->received_bytes},
                            {"seconds", seconds(page->time)},
                            {"broken", page->is_broken()}};
    if (!page->found_on.empty()) entry["found_on"] = page->found_on;
    if (!page->error.empty()) entry["error"] = page->error;
    pages.push_back(std::move(entry));
  }
  const nlohmann::json report = {{"pages", std::move(pages)},
                                 {"bytes", findings.received_bytes},
                                 {"seconds", seconds(findings.time)},
                                 {"forbidden_by_robots", findings.forbidden},
                                 {"limits_reached", findings.limits}};
  // Not every server's reason is UTF-8.
  return report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace tool::crawl
