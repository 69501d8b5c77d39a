// Links: where an HTML page leads.  libxml2 parses it, and links.cpp is the only file that knows.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace tool::crawl {

/// Reads a page as it comes; libxml2 keeps all of it meanwhile.  What is no HTML has no links, and is no error.
class LinkFinder {
 public:
  /// `found` is called with each reference of the page, without the white space that does not count: <a href>,
  /// <area href>, <link href>, <img src>, <script src>, <iframe src>, <frame src>.  A <base href> is told to `rebased`
  /// before what it applies to.
  /// `found` and `rebased` must not throw.  `charset` is what the server says of the page; empty, or unknown: nothing.
  LinkFinder(std::function<void(const std::string&)> found, std::function<void(const std::string&)> rebased,
             const std::string& charset);
  ~LinkFinder();

  void read(std::string_view piece);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tool::crawl
