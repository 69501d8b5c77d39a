// SiteRules: the robots.txt of every server that a crawl comes to.
#pragma once
#include <tulp/event.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "crawl/robots.hpp"
#include "exit_code.hpp"
#include "http/client.hpp"

namespace tool::crawl {

class SiteRules {
 public:
  explicit SiteRules(http::Connections& connections) : connections_(connections) {}

  /// Whether the server lets `url` be visited.
  /// Parks: while it is asked for its rules, which is done once.
  /// Throws: Failure - it did not tell, and then nothing may be visited: RFC 9309 section 2.3.1.4.
  bool allow(const http::Url& url, http::Reach reach);
  /// Whether that is known and has come out so.
  bool are_known_to_forbid(const http::Url& url, http::Reach reach) const;

 private:
  struct Rules {
    tulp::Event are_known;
    Robots robots;
    std::unique_ptr<Failure> failure;
  };
  /// What one may not ask, another may have been allowed to.
  using Key = std::pair<std::string, http::Reach>;

  Key key_of(const http::Url& url, http::Reach reach) const;
  void ask(const http::Url& url, http::Reach reach, Rules& rules);
  Robots read(http::Url url, http::Reach reach);

  http::Connections& connections_;
  std::map<Key, Rules> rules_;  // they stay where they are
};

}  // namespace tool::crawl
