// What tulp fetch is told to do, and how its command line says so.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "http/client.hpp"

namespace CLI {
class App;
}

namespace tool::fetch {

struct Options {
  std::vector<std::string> urls;
  /// One for each URL; "-" is standard output.
  std::vector<std::string> outputs;
  bool uses_remote_names = false;
  bool resumes = false;

  std::string method;  ///< empty: what the others imply
  std::vector<std::string> headers;
  std::vector<std::string> texts, binaries;  ///< to send, "@FILE" included

  bool includes_heads = false;
  bool wants_head_only = false;
  bool fails_on_errors = false;
  bool is_silent = false;
  double timeout_seconds = std::numeric_limits<double>::infinity();
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  unsigned max_redirects = 10;
  std::size_t job_count = 50;
  http::Via via;
};

/// Adds them all to `command`.  `options` has to outlive it.
void add_options(CLI::App& command, Options& options);
/// Checks what goes together, and decides the outputs.  Throws: CLI::ValidationError.
void complete(Options& options);
/// What each URL is asked with.  Reads the files to send.  Parks: while standard input is read.
/// Throws: Failure - read_error.
http::Request request_of(const Options& options);

}  // namespace tool::fetch
