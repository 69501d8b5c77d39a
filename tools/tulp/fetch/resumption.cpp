#include "fetch/resumption.hpp"

#include <charconv>
#include <optional>
#include <string_view>

#include "exit_code.hpp"

namespace tool::fetch {
namespace {

/// "bytes 500-999/1000", "bytes 500-999/*" or "bytes */1000".
struct ContentRange {
  std::optional<std::uint64_t> first, last, total;
};

/// Takes `mark` off the front of `rest`, if it stands there.
bool take(std::string_view& rest, std::string_view mark) {
  const bool is_there = rest.starts_with(mark);
  if (is_there) rest.remove_prefix(mark.size());
  return is_there;
}

std::optional<std::uint64_t> take_number(std::string_view& rest) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error != std::errc()) return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return number;
}

std::optional<ContentRange> parse(const std::string* field) {
  if (field == nullptr) return std::nullopt;
  std::string_view rest = *field;
  ContentRange range;
  if (!take(rest, "bytes ")) return std::nullopt;
  if (!take(rest, "*")) {
    range.first = take_number(rest);
    if (!range.first || !take(rest, "-")) return std::nullopt;
    range.last = take_number(rest);
    if (!range.last || *range.last < *range.first) return std::nullopt;
  }
  if (!take(rest, "/")) return std::nullopt;
  if (!take(rest, "*") && !(range.total = take_number(rest))) return std::nullopt;
  return rest.empty() ? std::optional(range) : std::nullopt;
}

[[noreturn]] void fail(std::uint64_t have_bytes, const std::string& why) {
  throw Failure(ExitCode::range_error, "cannot go on at " + std::to_string(have_bytes) + ": " + why);
}

/// The server has nothing from there on, which is well if it has nothing more.
Resumption judge_unsatisfied(const std::string* field, std::uint64_t have_bytes) {
  const auto range = parse(field);
  if (!range || !range->total) fail(have_bytes, "the server has nothing there, and does not say how much it has");
  if (*range->total != have_bytes) fail(have_bytes, "the server has " + std::to_string(*range->total) + " bytes");
  return Resumption::completed;
}

}  // namespace

http::Field range_from(std::uint64_t have_bytes) { return {"Range", "bytes=" + std::to_string(have_bytes) + "-"}; }

Resumption judge(const http::ResponseHead& head, std::uint64_t have_bytes) {
  const std::string* field = http::find(head.fields, "Content-Range");
  if (head.status == 416) return judge_unsatisfied(field, have_bytes);
  if (head.status != 206) {
    if (head.content_length == have_bytes && head.status == 200) return Resumption::completed;
    fail(have_bytes, "the server does not send parts");
  }
  const auto range = parse(field);
  if (!range || !range->first) fail(have_bytes, "the server does not say what it sends");
  if (*range->first != have_bytes) fail(have_bytes, "the server sends from " + std::to_string(*range->first) + " on");
  if (range->total && *range->last + 1 != *range->total) fail(have_bytes, "the server does not send all that follows");
  if (head.content_length && *head.content_length != *range->last - *range->first + 1) {
    fail(have_bytes, "the server's Content-Range is not what it sends");
  }
  return Resumption::goes_on;
}

}  // namespace tool::fetch
