// Where bodies are written: plainly to a descriptor, to a file that appears when it is complete, or in order to one
// descriptor.  Writes block: what a terminal, a pipe or a disk takes slowly holds up everything.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "exit_code.hpp"

namespace tool {

/// The output does not take what it is given; the reason is an errno.
class WriteError : public Failure {
 public:
  WriteError(int error_number, const std::string& name);
  /// The reader of a pipe has had enough: nothing to speak about.
  bool is_broken_pipe() const noexcept;

 private:
  int error_number_;
};

/// Writes all of it.  `name` is what an error calls the output.  Throws: WriteError.
void write_all(int fd, std::string_view data, const std::string& name);

/// Whether something is there under this name that is no regular file: a device, a pipe, a folder.
bool is_special_file(const std::string& path);

/// A file that gets its name when it is complete, and leaves nothing behind if that does not happen.  What is there
/// under the name and is no regular file (a device, a pipe) is written to as it is.
class OutputFile {
 public:
  /// Throws: WriteError - it cannot be created, or must not be written.
  explicit OutputFile(const std::string& path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  void write(std::string_view data) { write_all(fd_, data, name_); }
  /// Puts it in place.
  void commit();

 private:
  void open_in_place();
  void open_temporary();

  std::string name_;       ///< as the user wrote it
  std::string path_;       ///< where it will be, symbolic links followed
  std::string temporary_;  ///< where it is now; empty if it is written in place
  int fd_ = -1;
};

/// A file that is written at its end, in place, so that what came stays, however it ends.
class PartialFile {
 public:
  /// Throws: WriteError - it cannot be opened or created.
  explicit PartialFile(const std::string& path);
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  /// Takes it away again if it was created and has got nothing.
  ~PartialFile();

  /// How much was there at first.
  std::uint64_t begin_bytes() const noexcept { return begin_bytes_; }
  void write(std::string_view data);
  /// Says that all was written.  Throws: WriteError - a part of it was not.
  void commit();

 private:
  std::string name_;
  int fd_;
  std::uint64_t begin_bytes_ = 0;
  bool is_new_and_empty_ = false;
};

/// One descriptor for several writers, whose data are to appear one after another.  A writer whose turn has not come is
/// not held up: what it writes is kept, at first in memory, then in a temporary file.
class OrderedOutput {
 public:
  OrderedOutput(int fd, std::string name, std::size_t writer_count);
  ~OrderedOutput();

  void write(std::size_t writer, std::string_view data);
  /// Says that it was the last.
  void finish(std::size_t writer);

 private:
  struct Lane;
  void keep(Lane& lane, std::string_view data);
  void release(Lane& lane);

  int fd_;
  std::string name_;
  std::vector<Lane> lanes_;
  std::size_t turn_ = 0;
};

}  // namespace tool
