#include "serve/conditions.hpp"

#include <array>
#include <ctime>
#include <optional>

namespace tool::serve {
namespace {

enum class Comparison { weak, strong };

bool is_equal(std::string_view a, std::string_view b, Comparison comparison) {
  const auto strip = [](std::string_view& tag) {
    const bool is_weak = tag.starts_with("W/");
    if (is_weak) tag.remove_prefix(2);
    return is_weak;
  };
  const bool a_is_weak = strip(a), b_is_weak = strip(b);
  return a == b && (comparison == Comparison::weak || (!a_is_weak && !b_is_weak));
}

/// Whether one of a list is `etag`, or the list is "*".
bool has_match(std::string_view list, std::string_view etag, Comparison comparison) {
  if (list == "*") return true;
  while (!list.empty()) {
    const std::size_t open = list.find('"');
    const std::size_t close = open == std::string_view::npos ? open : list.find('"', open + 1);
    if (close == std::string_view::npos) return false;
    const std::size_t begin = open >= 2 && list.substr(open - 2, 2) == "W/" ? open - 2 : open;
    if (is_equal(list.substr(begin, close + 1 - begin), etag, comparison)) return true;
    list.remove_prefix(close + 1);
  }
  return false;
}

/// In each of the three formats of RFC 9110 section 5.6.7; nothing if it is none of them.
std::optional<std::int64_t> parse_date(std::string_view text) {
  const std::string date(text);
  for (const char* format : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    std::tm parts{};
    const char* end = ::strptime(date.c_str(), format, &parts);
    if (end != nullptr && *end == '\0') return ::timegm(&parts);
  }
  return std::nullopt;
}

}  // namespace

Verdict judge(const http::RequestHead& request, const Validators& validators) {
  const auto field = [&](std::string_view name) { return find(request.fields, name); };
  const auto date = [&](std::string_view name) {
    const auto value = field(name);
    return value ? parse_date(*value) : std::nullopt;
  };
  if (const auto tags = field("If-Match")) {
    if (!has_match(*tags, validators.etag, Comparison::strong)) return Verdict::failed;
  } else if (const auto time = date("If-Unmodified-Since")) {
    if (validators.modified_s > *time) return Verdict::failed;
  }
  if (const auto tags = field("If-None-Match"))
    return has_match(*tags, validators.etag, Comparison::weak) ? Verdict::not_modified : Verdict::send;
  if (const auto time = date("If-Modified-Since"))
    return validators.modified_s <= *time ? Verdict::not_modified : Verdict::send;
  return Verdict::send;
}

bool may_send_range(const http::RequestHead& request, const Validators& validators) {
  const auto value = find(request.fields, "If-Range");
  if (!value) return true;
  if (value->find('"') != std::string_view::npos) return is_equal(*value, validators.etag, Comparison::strong);
  return validators.is_time_strong && parse_date(*value) == validators.modified_s;
}

}  // namespace tool::serve
