// Place: where to listen or to connect to, as the command line of tulp proxy names it.
#pragma once
#include <cstdint>
#include <string>

namespace tool::proxy {

/// HOST:PORT, [IPV6]:PORT, :PORT on all addresses of this machine, PORT on 127.0.0.1, unix:PATH, unix:@NAME.
struct Place {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string unix_path = {};  // instead of them; an abstract name begins with NUL
  std::string text = {};       // as it was given

  bool is_unix() const noexcept { return !unix_path.empty(); }
  /// Throws: std::invalid_argument.
  static Place parse(const std::string& text);
};

/// For CLI11: what is wrong with it.
std::string check_place_to_listen(const std::string& text);
std::string check_place_to_connect(const std::string& text);

}  // namespace tool::proxy
