// Image: a program or a library as its ELF file tells of it.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace tool::port {

struct Image {
  std::filesystem::path path;
  bool is_program = false;
  bool is_static = false;
  /// It binds names that it has itself to its own, whatever is loaded before it.
  bool is_symbolic = false;
  std::set<std::string> imports;
  std::set<std::string> exports;
  std::vector<std::string> needed;
  /// Where those are looked for first, with $ORIGIN filled in.
  std::vector<std::filesystem::path> needed_folders;
};

/// Throws: Failure - it cannot be read, or is nothing that this machine could run.
Image read_image(const std::filesystem::path& path);

/// Where the loader would find `name`, which `image` needs; empty if nowhere.
std::filesystem::path find_needed(const Image& image, const std::string& name);

}  // namespace tool::port
