// Robots: what a site's robots.txt says to crawlers.  RFC 9309.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tool::crawl {

/// The rules that apply to us.
class Robots {
 public:
  /// As much of a robots.txt as is looked at.
  static constexpr std::size_t limit_bytes = 500 * 1024;

  /// Allows everything.
  Robots() = default;
  /// Of `text`, the groups for `product`, in whatever case, or else those for everybody.  What cannot be understood is
  /// left out.
  Robots(std::string_view text, std::string_view product);

  /// Whether a URL with this path and query may be visited: the longest rule that fits decides.
  bool allows(std::string_view target) const;

 private:
  struct Rule {
    std::string pattern;  // '*' stands for anything, '$' at its end for the end
    bool is_allowing;
  };
  std::vector<Rule> rules_;
};

}  // namespace tool::crawl
