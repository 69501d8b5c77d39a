// Conditional requests: RFC 9110 section 13, in the order of precedence that its section 13.2.2 gives.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace tool::serve {

/// What a client may know of a file from before.
struct Validators {
  std::string etag = {};  ///< as it is sent, with quotes, and W/ if it is weak
  std::int64_t modified_s = 0;
  /// Whether the time alone tells versions apart: not if it is so recent that there may be another one in that second.
  bool is_time_strong = false;
};

enum class Verdict { send, not_modified, failed };

Verdict judge(const http::RequestHead& request, const Validators& validators);
/// Whether a Range field counts: there is no If-Range, or it names this very version.
bool may_send_range(const http::RequestHead& request, const Validators& validators);

}  // namespace tool::serve
