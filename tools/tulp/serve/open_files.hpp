// OpenFiles: large files that were asked for a moment ago, with their descriptors.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/handle.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/file.hpp"

namespace tool::serve {

/// For a moment they are not opened again.  Then they are closed, lest they keep a file system busy.  One for each thread that
/// serves.
class OpenFiles {
 public:
  static constexpr std::size_t most_files = 16;

  OpenFiles() = default;
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;
  ~OpenFiles() { closing_.cancel(); }

  /// Null if it is not there, or was there too long, or has been written to.
  std::shared_ptr<const File> find(std::string_view path, tulp::TimePoint now) const;
  /// Unless there are too many.
  void keep(const std::string& path, std::shared_ptr<const File> file, tulp::TimePoint now);

 private:
  struct Entry {
    std::string path;
    std::shared_ptr<const File> file;
    tulp::TimePoint kept_at;
  };
  void close_later();
  void close_old();

  std::vector<Entry> entries_;  // the oldest first
  tulp::TimerHandle closing_;
};

}  // namespace tool::serve
