// Pattern: what is sent to echo servers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace tool::bench {

/// Each message is a piece of it, so that none has to be copied, and no two that follow each other are the same.
class Pattern {
 public:
  explicit Pattern(std::size_t size_bytes) : size_bytes_(size_bytes), bytes_(size_bytes + place_count, '\0') {
    std::mt19937_64 random(size_bytes);  // the same each time
    for (char& byte : bytes_) byte = static_cast<char>(random());
  }

  std::string_view message(std::size_t connection, std::uint64_t index) const noexcept {
    const std::size_t place = (index * 61 + connection * 1009) % place_count;
    return {bytes_.data() + place, size_bytes_};
  }

 private:
  static constexpr std::size_t place_count = 4096;
  const std::size_t size_bytes_;
  std::string bytes_;
};

}  // namespace tool::bench
