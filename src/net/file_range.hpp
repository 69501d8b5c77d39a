// FileRange: a part of a file that is to be sent, and how far that has come.  Floor 6, net.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tulp::detail {

/// What one call moves at most, so that others have their turn: some hundred microseconds' worth.
constexpr std::size_t sendfile_chunk_bytes = 1024 * 1024;

/// Whether that is no error of the connection, but says that the system cannot send this file this way, or not read it.
bool is_refused_by_sendfile(int error) noexcept;

class FileRange {
 public:
  FileRange(int file, std::uint64_t offset, std::optional<std::uint64_t> count) noexcept;

  int file() const noexcept { return file_; }
  off_t position() const noexcept { return static_cast<off_t>(offset_ + sent_); }
  bool is_done() const noexcept { return left_ == 0; }
  std::uint64_t sent() const noexcept { return sent_; }
  /// How much is left, as far as that is known; else 0.
  std::size_t left_bytes() const noexcept { return is_size_known_ ? static_cast<std::size_t>(left_) : 0; }
  std::size_t next_chunk_bytes() const noexcept;

  void advance(std::size_t bytes) noexcept;
  /// The file has no more.
  void end() noexcept { left_ = 0; }
  /// Reads what comes next, without going on; empty at the end of the file.  Throws: OsError.
  std::string_view read(std::span<char> memory) const;

 private:
  int file_;
  std::uint64_t offset_;
  std::uint64_t left_;
  std::uint64_t sent_ = 0;
  bool is_size_known_ = true;
};

}  // namespace tulp::detail
