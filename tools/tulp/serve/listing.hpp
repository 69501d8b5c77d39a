// Listing: what is in a directory, as a page.
#pragma once
#include <string>

#include "serve/folder.hpp"
#include "serve/target.hpp"

namespace tool::serve {

/// The page for the directory that `opened` is, at `path` below `folder`.  It names files and directories that can be
/// asked for, directories first, and at most 10,000 of them.
std::string list(const Folder& folder, const std::string& path, const Opened& opened, Hidden hidden);

}  // namespace tool::serve
