#include "serve/file.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "http/reply.hpp"
#include "serve/mime_types.hpp"

namespace tool::serve {
namespace {

/// What an entry of the cache takes beside its body, about.
constexpr std::size_t entry_bytes = 1024;

bool is_same_version(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

/// False on an error.
bool read_all(int fd, std::string& body) {
  std::size_t filled = 0;
  while (filled < body.size()) {
    const ssize_t size = ::pread(fd, body.data() + filled, body.size() - filled, static_cast<off_t>(filled));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return false;
    if (size == 0) break;  // it has become shorter
    filled += static_cast<std::size_t>(size);
  }
  body.resize(filled);
  return true;
}

/// Reads again if somebody writes meanwhile, but not for ever.
bool read_small(Opened& opened, std::string& body) {
  for (int attempt = 0; attempt < 4; ++attempt) {
    struct stat after {};
    body.resize(static_cast<std::size_t>(opened.status.st_size));
    if (!read_all(opened.descriptor.get(), body) || ::fstat(opened.descriptor.get(), &after) != 0) return false;
    const bool is_whole =
        is_same_version(opened.status, after) && body.size() == static_cast<std::size_t>(after.st_size);
    opened.status = after;
    if (is_whole) return true;
  }
  return true;  // it is what was there, at some time
}

/// A file that has changed within the last second may change again without a later time: what its tag names is not sure
/// to be this version, and the tag says so by being weak.
Validators validators_of(const struct stat& status) {
  const bool is_recent = status.st_mtim.tv_sec + 1 >= std::time(nullptr);
  std::array<char, 80> tag{};
  std::snprintf(tag.data(), tag.size(), "%s\"%llx-%llx-%llx\"", is_recent ? "W/" : "",
                static_cast<unsigned long long>(status.st_ino), static_cast<unsigned long long>(status.st_size),
                static_cast<unsigned long long>(status.st_mtim.tv_sec) * 1'000'000'000 +
                    static_cast<unsigned long long>(status.st_mtim.tv_nsec));
  return {.etag = tag.data(), .modified_s = status.st_mtim.tv_sec, .is_time_strong = !is_recent};
}

}  // namespace

std::shared_ptr<const File> read_file(Opened opened, std::string_view path) {
  auto file = std::make_shared<File>();
  const bool is_small = opened.status.st_size <= static_cast<off_t>(FileCache::small_bytes);
  if (is_small && !read_small(opened, file->body)) return nullptr;
  file->size_bytes = is_small ? file->body.size() : static_cast<std::uint64_t>(opened.status.st_size);
  file->validators = validators_of(opened.status);
  file->type = mime_type(path);
  file->fields = "Content-Type: " + std::string(file->type) + "\r\n";
  file->version_begin = file->fields.size();
  file->fields += "Last-Modified: " + http::http_date(file->validators.modified_s) +
                  "\r\nETag: " + file->validators.etag + "\r\nAccept-Ranges: bytes\r\n";
  if (!is_small) {
    file->descriptor = std::move(opened.descriptor);
    file->status = opened.status;
  }
  return file;
}

bool File::is_unchanged() const noexcept {
  struct stat now {};
  return ::fstat(descriptor.get(), &now) == 0 && is_same_version(status, now);
}

std::shared_ptr<const File> FileCache::find(std::string_view path, tulp::TimePoint now) const {
  const auto found = entries_.find(path);
  if (found == entries_.end() || now - found->second.kept_at >= moment) return nullptr;
  return found->second.file;
}

/// When it is full it begins anew: what is still asked for is back after one look at each file.
void FileCache::keep(std::string path, std::shared_ptr<const File> file, tulp::TimePoint now) {
  Entry& entry = entries_[std::move(path)];
  if (entry.file) size_bytes_ -= entry.file->body.size() + entry_bytes;
  size_bytes_ += file->body.size() + entry_bytes;
  entry = {std::move(file), now};
  if (size_bytes_ <= most_bytes) return;
  entries_.clear();
  size_bytes_ = 0;
}

}  // namespace tool::serve
