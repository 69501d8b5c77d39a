// Folder: what lies below a directory, and nothing else.
#pragma once
#include <sys/stat.h>

#include <string>

#include "descriptor.hpp"

namespace tool::serve {

/// What was opened, or errno.
struct Opened {
  Descriptor descriptor = {};
  struct stat status = {};
  int error = 0;

  bool is_file() const noexcept { return error == 0 && S_ISREG(status.st_mode); }
  bool is_directory() const noexcept { return error == 0 && S_ISDIR(status.st_mode); }
};

class Folder {
 public:
  /// Throws: Failure - it cannot be opened, or is no directory.
  explicit Folder(const std::string& path);

  /// Opens a file or a directory to read it; anything else, which could make us wait, is EACCES.  `path` is relative and
  /// has no ".."; an empty one is the folder itself.  A symbolic link that leads out of the folder, or begins at the root,
  /// is EXDEV; where the kernel cannot tell (Linux before 5.6), any link is ELOOP.
  Opened open(const std::string& path) const;

 private:
  Descriptor directory_;
};

}  // namespace tool::serve
