// unix_name: a Unix socket as the command line names it.
#pragma once
#include <tulp/address.hpp>

#include <stdexcept>
#include <string>

namespace tool {

/// "@name" is an abstract name, as ss and systemd write it; "./@name" is a file.
inline std::string unix_name(std::string text) {
  if (!text.empty() && text.front() == '@') text.front() = '\0';
  return text;
}

/// For CLI11: what is wrong with it.
inline std::string check_unix_name(const std::string& text) {
  try {
    tulp::Address::unix_path(unix_name(text));
    return "";
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

}  // namespace tool
