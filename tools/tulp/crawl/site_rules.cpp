#include "crawl/site_rules.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace tool::crawl {
namespace {

constexpr int most_redirects = 5;  // RFC 9309 section 2.3.1.2

std::string read_text(http::Exchange& exchange) {
  std::string text;
  for (auto piece = exchange.read_body(); !piece.empty(); piece = exchange.read_body()) {
    text += piece;
    if (text.size() >= Robots::limit_bytes) break;
  }
  text.resize(std::min(text.size(), Robots::limit_bytes));
  return text;
}

}  // namespace

/// Rules that are there serve everybody: whether the page may be visited is another question.
SiteRules::Key SiteRules::key_of(const http::Url& url, http::Reach reach) const {
  const Key for_all(url.origin(), http::Reach::anywhere);
  return rules_.contains(for_all) ? for_all : Key(url.origin(), reach);
}

bool SiteRules::allow(const http::Url& url, http::Reach reach) {
  const auto [place, is_new] = rules_.try_emplace(key_of(url, reach));
  Rules& rules = place->second;
  if (is_new) {
    ask(url, reach, rules);
  } else {
    rules.are_known.wait();
  }
  if (rules.failure) throw *rules.failure;
  return rules.robots.allows(url.target);
}

bool SiteRules::are_known_to_forbid(const http::Url& url, http::Reach reach) const {
  const auto place = rules_.find(key_of(url, reach));
  if (place == rules_.end() || !place->second.are_known.is_set() || place->second.failure) return false;
  return !place->second.robots.allows(url.target);
}

void SiteRules::ask(const http::Url& url, http::Reach reach, Rules& rules) {
  // If this is cut short by the time limit of its page, nobody else is to wait for it.
  rules.failure = std::make_unique<Failure>(ExitCode::timed_out, "robots.txt: it did not come in time");
  struct Announcement {
    Rules& rules;
    ~Announcement() { rules.are_known.set(); }
  } const announcement{rules};
  try {
    http::Url place = url;
    place.target = "/robots.txt";
    rules.robots = read(std::move(place), reach);
    rules.failure.reset();
  } catch (const Failure& failure) {
    rules.failure = std::make_unique<Failure>(failure.code(), std::string("robots.txt: ") + failure.what());
  }
}

/// A redirect to another host is answered there, if we come there: what it is for cannot be visited here then either.
Robots SiteRules::read(http::Url url, http::Reach reach) {
  for (int followed = 0; followed <= most_redirects; ++followed) {
    http::Exchange exchange(connections_, url, {.reach = reach});
    const unsigned status = exchange.head().status;
    if (status >= 500) {
      throw Failure(ExitCode::failed, "the server answered " + std::to_string(status) + "; --ignore-robots goes on");
    }
    if (status / 100 == 2) return Robots(read_text(exchange), "tulp");
    exchange.skip_body();
    const auto location = exchange.redirection();
    if (!location) return {};
    http::Url next = http::resolve(url, *location);
    if (next.host != url.host) return {};
    url = std::move(next);
  }
  return {};
}

}  // namespace tool::crawl
