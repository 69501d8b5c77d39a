// File: one version of a file, as it is sent; and the small ones that were asked for a moment ago.
#pragma once
#include <sys/stat.h>
#include <tulp/duration.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "serve/conditions.hpp"
#include "serve/folder.hpp"

namespace tool::serve {

struct File {
  std::uint64_t size_bytes = 0;
  Validators validators = {};
  std::string_view type = {};
  std::string fields = {};  ///< Content-Type, and then those of the version, as they are sent
  std::size_t version_begin = 0;
  std::string body = {};       ///< of a small one
  Descriptor descriptor = {};  ///< of any other
  struct stat status = {};     ///< the same, when it was opened

  bool is_small() const noexcept { return !descriptor; }
  /// Of one that is not small: whether its descriptor still gives this version.
  bool is_unchanged() const noexcept;
  /// Last-Modified, ETag and Accept-Ranges.
  std::string_view version_fields() const noexcept { return std::string_view(fields).substr(version_begin); }
};

/// Of an `opened` file; a small one is read whole, so that its bytes are all of the version that its ETag names.
/// Nothing if it cannot be read; errno says why.
std::shared_ptr<const File> read_file(Opened opened, std::string_view path);

/// Small files by path, for a moment, in which they are not looked at again: with many requests for the same ones nearly all
/// are answered from here, and nobody sees a change of a file come late.  One for each thread that serves.
class FileCache {
 public:
  static constexpr tulp::Duration moment = std::chrono::milliseconds(100);
  static constexpr std::size_t most_bytes = 16 * 1024 * 1024;
  static constexpr std::size_t small_bytes = 32 * 1024;

  /// Null if it is not there, or was there too long.
  std::shared_ptr<const File> find(std::string_view path, tulp::TimePoint now) const;
  void keep(std::string path, std::shared_ptr<const File> file, tulp::TimePoint now);

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  struct Entry {
    std::shared_ptr<const File> file;
    tulp::TimePoint kept_at;
  };

  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> entries_;
  std::size_t size_bytes_ = 0;
};

}  // namespace tool::serve
