// A folder for the files of a test.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/catch.hpp"

namespace tulp::test {

/// A new, empty folder that is gone when this dies.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/tulp-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

}  // namespace tulp::test
