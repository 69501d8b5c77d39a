#include "demo/site.hpp"

#include <tulp/task.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <random>

namespace tool::demo {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::size_t chunk_bytes = 4000;

constexpr std::array all_kinds{
    Kind{"small", Manner::plain, 2'000, 5ms, 50ms, 60},
    Kind{"slow", Manner::plain, 2'000, 300ms, 800ms, 15},
    Kind{"large", Manner::plain, 250'000, 10ms, 60ms, 10},
    Kind{"chunked", Manner::in_chunks, 24'000, 20ms, 100ms, 10},
    Kind{"moved", Manner::redirected, 2'000, 5ms, 50ms, 5},
    Kind{"broken", Manner::broken_off, 2'000, 100ms, 100ms, 0},  // one, the last of all
};

/// Of a hundred numbers below 100 each kind has as many as its weight says.
const Kind& pick(std::uint_fast32_t number) {
  for (const Kind& kind : all_kinds) {
    if (number < kind.weight) return kind;
    number -= kind.weight;
  }
  return all_kinds.front();
}

/// The first half of what was promised.
void break_off(const std::string& body, http::Reply& reply) {
  reply.begin(200, {{"Content-Type", "text/plain"}}, body.size());
  reply.write(std::string_view(body).substr(0, body.size() / 2));
}

/// With the wait spread over the chunks.
void send_in_chunks(const std::string& body, nanoseconds wait, http::Reply& reply) {
  const std::size_t chunk_count = (body.size() + chunk_bytes - 1) / chunk_bytes;
  const nanoseconds pause = wait / chunk_count;
  reply.begin(200, {{"Content-Type", "text/plain"}});
  for (std::size_t begin = 0; begin < body.size(); begin += chunk_bytes) {
    tulp::sleep(pause);
    reply.write(std::string_view(body).substr(begin, chunk_bytes));
  }
}

}  // namespace

std::span<const Kind> kinds() { return all_kinds; }

Site::Site(std::size_t count) {
  std::mt19937 random(2013);  // the distributions of the standard library differ; what this gives does not
  for (std::size_t i = 0; i < count; ++i) {
    const Kind& kind = i + 1 < count ? pick(random() % 100) : all_kinds.back();
    const nanoseconds step = (kind.longest_wait - kind.shortest_wait) / 1000;
    pages_.push_back({&kind, kind.shortest_wait + step * static_cast<int>(random() % 1000)});
  }
}

std::string Site::path(std::size_t index) const {
  return "/" + std::string(pages_[index].kind->name) + "/" + std::to_string(index);
}

std::string Site::body(std::size_t index) const {
  const std::string line = "This is page " + std::to_string(index) + ". A fiber wrote it, and a fiber reads it.\n";
  std::string text;
  while (text.size() < pages_[index].kind->size_bytes) text += line;
  text.resize(pages_[index].kind->size_bytes);
  return text;
}

std::size_t Site::count(const Kind& kind) const {
  return static_cast<std::size_t>(
      std::count_if(pages_.begin(), pages_.end(), [&](const Page& page) { return page.kind == &kind; }));
}

nanoseconds Site::total_wait() const {
  nanoseconds total{};
  for (const Page& page : pages_) total += page.wait;
  return total;
}

void Site::answer(std::string_view target, http::Reply& reply) const {
  std::size_t index = pages_.size();
  const std::string_view number = target.substr(target.rfind('/') + 1);
  std::from_chars(number.data(), number.data() + number.size(), index);
  if (index >= pages_.size()) return reply.send(404, "There is no such page.\n");

  const Page& page = pages_[index];
  const bool is_there = target.starts_with("/" + std::string(page.kind->name) + "/");
  if (page.kind->manner == Manner::in_chunks) return send_in_chunks(body(index), page.wait, reply);
  if (is_there) tulp::sleep(page.wait);  // not again after a redirect
  if (page.kind->manner == Manner::broken_off) return break_off(body(index), reply);
  if (page.kind->manner == Manner::redirected && is_there) {
    return reply.send(302, "", {{"Location", "../small/" + std::to_string(index)}});
  }
  reply.send(200, body(index), {{"Content-Type", "text/plain"}});
}

http::Routes routes_of(const std::shared_ptr<const Site>& site) {
  const auto route = [site](const http::RequestHead& request, http::Reply& reply) {
    site->answer(request.target, reply);
  };
  http::Routes routes;
  for (const Kind& kind : all_kinds) routes["/" + std::string(kind.name) + "/"] = route;
  return routes;
}

}  // namespace tool::demo
