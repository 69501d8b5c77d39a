#include "http/url.hpp"

#include <sys/socket.h>
#include <tulp/address.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "exit_code.hpp"

namespace tool::http {
namespace {

/// A URI, or a reference that is relative to one, cut into its parts: RFC 3986 appendix B.
struct Reference {
  std::optional<std::string> scheme;
  std::optional<std::string> authority;
  std::string path;
  std::optional<std::string> query;
};

std::uint16_t default_port(Scheme scheme) { return scheme == Scheme::https ? 443 : 80; }

[[noreturn]] void fail(const std::string& why) { throw Failure(ExitCode::malformed_url, "malformed URL: " + why); }

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_scheme(std::string_view text) {
  return !text.empty() && is_alpha(text.front()) && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
}

/// Takes what stands before the first of `delimiters` off the front of `rest`.
std::string_view take_until(std::string_view& rest, const char* delimiters) {
  const std::string_view taken = rest.substr(0, rest.find_first_of(delimiters));
  rest.remove_prefix(taken.size());
  return taken;
}

Reference split(std::string_view rest) {
  Reference parts;
  rest = rest.substr(0, rest.find('#'));
  if (const std::size_t colon = rest.find_first_of(":/?"); colon < rest.size() && rest[colon] == ':') {
    if (!is_scheme(rest.substr(0, colon))) fail("bad scheme");
    parts.scheme = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
  }
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    parts.authority = take_until(rest, "/?");
  }
  parts.path = take_until(rest, "?");
  if (!rest.empty()) parts.query = rest.substr(1);
  return parts;
}

/// RFC 3986 section 5.2.4, for paths that begin with '/'.
std::string remove_dot_segments(std::string_view path) {
  std::string kept;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view segment = take_until(path, "/");
    const bool is_dot = segment == "." || segment == "..";
    if (segment == "..") kept.erase(std::min(kept.rfind('/'), kept.size()));
    if (!is_dot) kept.append("/").append(segment);
    if (is_dot && path.empty()) kept += '/';
  }
  return kept.empty() ? "/" : kept;
}

/// RFC 3986 section 5.2.3: `path` in the place of `base`'s last segment.
std::string merge(const std::string& base, const std::string& path) {
  return base.substr(0, base.rfind('/') + 1) + path;
}

/// RFC 3986 section 5.2.2.  The path of `base` is not empty.
Reference resolve(const Reference& base, Reference to) {
  if (to.scheme) return to;
  to.scheme = base.scheme;
  if (to.authority) return to;
  to.authority = base.authority;
  if (to.path.empty()) {
    to.path = base.path;
    if (!to.query) to.query = base.query;
  } else if (!to.path.starts_with('/')) {
    to.path = merge(base.path, to.path);
  }
  return to;
}

std::uint16_t parse_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool is_number = error != std::errc::invalid_argument && end == text.data() + text.size();
  if (!is_number) fail("the port is not a number");
  if (error != std::errc() || port < 1 || port > 65535) fail("the port is not between 1 and 65535");
  return static_cast<std::uint16_t>(port);
}

/// What stands in the brackets; a zone is written "%25eth0" there: RFC 6874.
std::string parse_ipv6(std::string_view text) {
  std::string host(text);
  if (const std::size_t zone = host.find("%25"); zone != std::string::npos) host.replace(zone, 3, "%");
  const auto address = tulp::Address::parse(host, 0);
  if (!address || address->family() != AF_INET6) fail("bad IPv6 address");
  return host;
}

std::string parse_name(std::string_view text) {
  if (text.empty()) fail("no host");
  const bool is_name = std::all_of(
      text.begin(), text.end(), [](char c) { return is_alpha(c) || is_digit(c) || c == '.' || c == '-' || c == '_'; });
  if (!is_name) fail("bad character in the host");
  return std::string(text);
}

void parse_authority(std::string_view text, Url& url) {
  if (text.find('@') != std::string_view::npos) fail("a user name or password in it is not supported");
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) fail("no ']' after '['");
    url.host = parse_ipv6(text.substr(1, bracket - 1));
    text.remove_prefix(bracket + 1);
    if (!text.empty() && text.front() != ':') fail("something stands between ']' and the port");
  } else {
    url.host = parse_name(take_until(text, ":"));
  }
  if (text.size() > 1) url.port = parse_port(text.substr(1));
}

/// RFC 3987 section 3.1: as bytes above ASCII would be sent.
std::string encode(std::string_view text) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      encoded += c;
    } else {
      encoded += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return encoded;
}

std::string in_lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Url to_url(const Reference& parts) {
  const std::string scheme = in_lower_case(*parts.scheme);
  if (scheme != "http" && scheme != "https")
    throw Failure(ExitCode::unsupported_scheme, "the scheme " + scheme + " is not supported");
  if (!parts.authority) fail("no // after " + scheme + ":");
  Url url;
  if (scheme == "https") url.scheme = Scheme::https;
  url.port = default_port(url.scheme);
  parse_authority(*parts.authority, url);
  url.target = encode(remove_dot_segments(parts.path));
  if (parts.query) url.target += "?" + encode(*parts.query);
  return url;
}

void check_bytes(std::string_view text) {
  const bool is_clean =
      std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c <= ' ') || c == 0x7f; });
  if (!is_clean) fail("a space or control character in it");
}

std::string join(const Url& url, const std::string& host) {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return url.port == default_port(url.scheme) ? name : name + ":" + std::to_string(url.port);
}

}  // namespace

std::string Url::authority() const { return join(*this, host.substr(0, host.find('%'))); }

std::string Url::origin() const {
  std::string name = in_lower_case(host);
  if (const std::size_t zone = name.find('%'); zone != std::string::npos) name.replace(zone, 1, "%25");
  return (scheme == Scheme::https ? "https://" : "http://") + join(*this, name);
}

std::string Url::to_string() const { return origin() + target; }

Url parse_url(std::string_view text) {
  check_bytes(text);
  // "localhost:8080/" would have the scheme "localhost", but that is hardly what was meant.
  const std::size_t scheme_size = text.find("://");
  if (scheme_size == std::string_view::npos || !is_scheme(text.substr(0, scheme_size))) {
    fail("no scheme; http://" + std::string(text) + " perhaps?");
  }
  return to_url(split(text));
}

Url resolve(const Url& base, std::string_view reference) {
  check_bytes(reference);
  return to_url(resolve(split(base.to_string()), split(reference)));
}

}  // namespace tool::http
