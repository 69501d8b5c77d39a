#include "output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

namespace tool {
namespace {

constexpr std::size_t kept_in_memory_bytes = 64 * 1024;

std::string random_letters() {
  std::random_device random;
  std::string letters;
  for (int i = 0; i < 6; ++i) letters += static_cast<char>('a' + random() % 26);
  return letters;
}

/// `path` without symbolic links, as far as it exists: a link is to stay one.
std::string real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? real.get() : path;
}

/// Beside `path`, so that it can be renamed; hidden from nobody, since after kill -9 it is for people to find.
std::string temporary_for(const std::string& path) {
  constexpr std::size_t longest_name = 255 - sizeof(".abcdef.part");
  const std::size_t name = path.rfind('/') + 1;
  return path.substr(0, name) + path.substr(name, longest_name) + "." + random_letters() + ".part";
}

}  // namespace

WriteError::WriteError(int error_number, const std::string& name)
    : Failure(ExitCode::write_error, name + ": " + std::strerror(error_number)), error_number_(error_number) {}

bool WriteError::is_broken_pipe() const noexcept { return error_number_ == EPIPE; }

void write_all(int fd, std::string_view data, const std::string& name) {
  while (!data.empty()) {
    const ssize_t size = ::write(fd, data.data(), data.size());
    if (size >= 0) {
      data.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {  // somebody who shares it has made it non-blocking
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      throw WriteError(errno, name);
    }
  }
}

bool is_special_file(const std::string& path) {
  struct stat existing {};
  return ::stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode);
}

OutputFile::OutputFile(const std::string& path) : name_(path), path_(real_path(path)) {
  struct stat existing {};
  if (::stat(path_.c_str(), &existing) != 0) {
    if (errno != ENOENT || path_.empty()) throw WriteError(errno, name_);
    open_temporary();
  } else if (!S_ISREG(existing.st_mode)) {
    open_in_place();
  } else {
    if (::access(path_.c_str(), W_OK) != 0) throw WriteError(errno, name_);
    open_temporary();
    ::fchmod(fd_, existing.st_mode & 07777);
  }
}

void OutputFile::open_in_place() {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd_ < 0) throw WriteError(errno, name_);
}

void OutputFile::open_temporary() {
  do {
    temporary_ = temporary_for(path_);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) throw WriteError(errno, name_);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::commit() {
  if (::close(std::exchange(fd_, -1)) != 0) throw WriteError(errno, name_);
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw WriteError(errno, name_);
  temporary_.clear();
}

PartialFile::PartialFile(const std::string& path) : name_(path), fd_(::open(path.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (fd_ < 0 && errno == ENOENT) {
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    is_new_and_empty_ = fd_ >= 0;
  }
  if (fd_ < 0) throw WriteError(errno, name_);
  const off_t end = ::lseek(fd_, 0, SEEK_END);  // fails where nothing can have been kept
  begin_bytes_ = end > 0 ? static_cast<std::uint64_t>(end) : 0;
}

PartialFile::~PartialFile() {
  if (fd_ >= 0) ::close(fd_);
  if (is_new_and_empty_) ::unlink(name_.c_str());
}

void PartialFile::write(std::string_view data) {
  is_new_and_empty_ = false;
  write_all(fd_, data, name_);
}

void PartialFile::commit() {
  is_new_and_empty_ = false;
  if (::close(std::exchange(fd_, -1)) != 0) throw WriteError(errno, name_);
}

struct OrderedOutput::Lane {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string begin;                       // what is kept, up to the limit
  std::unique_ptr<std::FILE, Close> rest;  // what is beyond it
  bool is_finished = false;
};

OrderedOutput::OrderedOutput(int fd, std::string name, std::size_t writer_count)
    : fd_(fd), name_(std::move(name)), lanes_(writer_count) {}
OrderedOutput::~OrderedOutput() = default;

void OrderedOutput::write(std::size_t writer, std::string_view data) {
  if (writer == turn_) return write_all(fd_, data, name_);
  keep(lanes_[writer], data);
}

void OrderedOutput::finish(std::size_t writer) {
  lanes_[writer].is_finished = true;
  while (turn_ < lanes_.size() && lanes_[turn_].is_finished) {
    if (++turn_ < lanes_.size()) release(lanes_[turn_]);
  }
}

void OrderedOutput::keep(Lane& lane, std::string_view data) {
  if (!lane.rest && lane.begin.size() + data.size() <= kept_in_memory_bytes) {
    lane.begin += data;
    return;
  }
  if (!lane.rest) lane.rest.reset(std::tmpfile());
  const bool is_kept = lane.rest && std::fwrite(data.data(), 1, data.size(), lane.rest.get()) == data.size();
  if (!is_kept) throw WriteError(errno, "temporary file");
}

void OrderedOutput::release(Lane& lane) {
  write_all(fd_, std::exchange(lane.begin, {}), name_);
  if (!lane.rest) return;
  const auto rest = std::move(lane.rest);
  if (std::fflush(rest.get()) != 0) throw WriteError(errno, "temporary file");
  std::rewind(rest.get());
  std::vector<char> piece(kept_in_memory_bytes);
  while (const std::size_t size = std::fread(piece.data(), 1, piece.size(), rest.get())) {
    write_all(fd_, {piece.data(), size}, name_);
  }
  if (std::ferror(rest.get()) != 0) throw WriteError(errno, "temporary file");
}

}  // namespace tool
