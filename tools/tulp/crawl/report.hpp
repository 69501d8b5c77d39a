// What a crawl has found, as text for people and as JSON for programs.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "exit_code.hpp"
#include "http/connections.hpp"

namespace tool::crawl {

struct Page {
  std::string url;
  std::string found_on = {};  ///< the page that led here first; empty for where the crawl began
  unsigned depth = 0;         ///< how many links from there
  unsigned status = 0;        ///< 0 if there was no reply
  std::uint64_t received_bytes = 0;
  std::chrono::nanoseconds time{};
  ExitCode code = ExitCode::ok;
  std::string error = {};  ///< of which `code` tells the kind
  bool was_visited = false;
  http::Reach reach = http::Reach::anywhere;  ///< what has led here may not lead everywhere
  bool is_public = false;                     ///< where it came from

  bool is_broken() const noexcept { return was_visited && (status >= 400 || code != ExitCode::ok); }
};

struct Findings {
  std::vector<Page> pages;
  std::uint64_t received_bytes = 0;
  std::chrono::nanoseconds time{};
  std::vector<std::string> forbidden;  ///< by robots.txt
  std::vector<std::string> limits;     ///< what has kept the crawl from going on: "--max-pages 1000"
};

/// 80 columns, but for URLs.
std::string to_text(const Findings& findings);
std::string to_json(const Findings& findings);

}  // namespace tool::crawl
