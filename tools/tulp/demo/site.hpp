// The site that the demo serves to itself: pages of several kinds, each with a wait before it that stands for the way to
// a server far away.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.hpp"

namespace tool::demo {

enum class Manner { plain, in_chunks, redirected, broken_off };

/// What a part of the pages have in common.
struct Kind {
  std::string_view name;
  Manner manner;
  std::size_t size_bytes;
  std::chrono::nanoseconds shortest_wait;
  std::chrono::nanoseconds longest_wait;
  unsigned weight;  ///< How many there are, beside the other kinds.
};

struct Page {
  const Kind* kind;
  std::chrono::nanoseconds wait;
};

/// All kinds, the most frequent first.
std::span<const Kind> kinds();

/// `count` pages, the same ones every time; with the one that breaks off among them.
class Site {
 public:
  explicit Site(std::size_t count);

  const std::vector<Page>& pages() const noexcept { return pages_; }
  /// Below which path page `index` is.
  std::string path(std::size_t index) const;
  /// What it holds.
  std::string body(std::size_t index) const;
  std::size_t count(const Kind& kind) const;
  /// What all waits add up to.
  std::chrono::nanoseconds total_wait() const;

  /// Sends the page that `target` names.
  void answer(std::string_view target, http::Reply& reply) const;

 private:
  std::vector<Page> pages_;
};

/// Answers for the pages.  An answer may outlast the server, so the routes own the site too.
http::Routes routes_of(const std::shared_ptr<const Site>& site);

}  // namespace tool::demo
