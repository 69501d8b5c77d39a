// Target: what a request names, as a path below the folder that is served.
#pragma once
#include <string>
#include <string_view>

namespace tool::serve {

struct Target {
  /// Decoded, without a '/' at its begin, and with one at its end if the request has it; "" for the folder itself.
  std::string path = {};
  /// With its '?', or empty.
  std::string_view query = {};
  /// 400 or 404 if there is no such path; else 0.
  unsigned status = 0;
  std::string_view why = {};

  bool is_directory() const noexcept { return path.empty() || path.ends_with('/'); }
};

enum class Hidden { refused, served };

/// Several '/' are one.  Nothing is ever above the folder: a segment "..", however it is encoded, is refused, and so is
/// "."; so is a name that begins with a dot, unless those are served, but for ".well-known" (RFC 8615).
Target parse_target(std::string_view target, Hidden hidden);

/// Whether a name is one that only Hidden::served lets through.
bool is_hidden(std::string_view name);

/// `path` as a URL has it: every byte that means something there, or is no ASCII letter or digit, is encoded.
std::string encode_path(std::string_view path);

}  // namespace tool::serve
