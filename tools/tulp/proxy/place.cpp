#include "proxy/place.hpp"

#include <charconv>
#include <stdexcept>
#include <string_view>

#include "unix_name.hpp"

namespace tool::proxy {
namespace {

constexpr std::string_view unix_prefix = "unix:";

[[noreturn]] void refuse(const std::string& text, const char* why) { throw std::invalid_argument(text + ": " + why); }

std::uint16_t parse_port(const std::string& text, std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) refuse(text, "that ends with no port");
  return port;
}

std::string parse_host(const std::string& text, std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') return std::string(host.substr(1, host.size() - 2));
  if (host.find_first_of(":[]") != std::string_view::npos) refuse(text, "an IPv6 address stands in brackets: [::1]:80");
  return std::string(host);
}

/// What `check(place)` says, if the text is a place at all.
template <class F>
std::string checked(const std::string& text, F check) {
  try {
    return check(Place::parse(text));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

}  // namespace

Place Place::parse(const std::string& text) {
  Place place{.text = text};
  if (text.starts_with(unix_prefix)) {
    place.unix_path = unix_name(text.substr(unix_prefix.size()));
    if (const std::string wrong = check_unix_name(text.substr(unix_prefix.size())); !wrong.empty())
      throw std::invalid_argument(wrong);
    return place;
  }
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos) place.host = parse_host(text, std::string_view(text).substr(0, colon));
  place.port = parse_port(text, std::string_view(text).substr(colon + 1));
  return place;
}

std::string check_place_to_listen(const std::string& text) {
  return checked(text, [](const Place&) { return std::string(); });
}

std::string check_place_to_connect(const std::string& text) {
  return checked(text, [&](const Place& place) {
    if (place.is_unix()) return std::string();
    if (place.host.empty()) return text + ": there is no host";
    return place.port == 0 ? text + ": nobody listens on port 0" : std::string();
  });
}

}  // namespace tool::proxy
