#include "support/leaks.hpp"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/sys.hpp"
#include "events/signal_target.hpp"

namespace {

using tulp::sys;

/// Each descriptor that is open, and what it is.
std::map<int, std::string> open_descriptors() {
  std::map<int, std::string> open;
  DIR* folder = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] == '.' || fd == ::dirfd(folder)) continue;
    std::array<char, 256> target;
    const ssize_t size = ::readlinkat(::dirfd(folder), entry->d_name, target.data(), target.size());
    open[fd] = std::string(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  }
  ::closedir(folder);
  return open;
}

/// Slabs are watched through the table of system calls; a test that puts its own functions there hides its own.
class Slabs {
 public:
  static void watch() {
    sys.mmap = [](void* hint, size_t size, int protection, int flags, int fd, off_t offset) {
      void* memory = ::mmap(hint, size, protection, flags, fd, offset);
      const bool is_slab = (flags & MAP_STACK) != 0 && (flags & MAP_NORESERVE) != 0;
      if (memory != MAP_FAILED && is_slab) replace(nullptr, memory);
      return memory;
    };
    sys.munmap = [](void* memory, size_t size) {
      replace(memory, nullptr);
      return ::munmap(memory, size);
    };
  }
  static std::size_t count() {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (void* slab : slabs_) count += slab != nullptr && ::msync(slab, 1, MS_ASYNC) == 0 ? 1 : 0;
    return count;
  }

 private:
  static void replace(void* former, void* present) {
    const std::lock_guard lock(mutex_);
    for (void*& slab : slabs_) {
      if (slab != former) continue;
      slab = present;
      return;
    }
  }
  static inline std::mutex mutex_;
  static inline std::array<void*, 1024> slabs_{};  // allocates nothing: tests count allocations
};

class Census {
 public:
  Census() {
    Slabs::watch();
    at_start_ = open_descriptors();
  }
  Census(const Census&) = delete;
  Census& operator=(const Census&) = delete;
  ~Census() {
    if (::getpid() != process_) return;
    auto left = open_descriptors();
    forget_signal_pipes(left);
    std::erase_if(left, [](const auto& entry) { return is_elf(entry.first); });  // libdw keeps what it has read
    for (const auto& [fd, target] : at_start_) left.erase(fd);
    for (const auto& [fd, target] : left)
      std::fprintf(stderr, "The tests leave behind descriptor %d: %s\n", fd, target.c_str());
    if (!left.empty()) std::_Exit(1);
  }

  void accept_what_is_open() { at_start_ = open_descriptors(); }

 private:
  /// They stay with the process, and wait for the next loop that needs one.
  static void forget_signal_pipes(std::map<int, std::string>& open) {
    for (;;) {
      const auto found = open.find(tulp::detail::SignalTarget::acquire().fd());
      if (found == open.end()) return;
      std::erase_if(open, [pipe = found->second](const auto& entry) { return entry.second == pipe; });
    }
  }

  static bool is_elf(int fd) {
    std::array<char, 4> magic;
    return ::pread(fd, magic.data(), magic.size(), 0) == 4 && std::string_view(magic.data(), 4) == "\177ELF";
  }

  pid_t process_ = ::getpid();
  std::map<int, std::string> at_start_;
};

/// In a function, as others may want it before this file's turn has come.
Census& census() {
  static Census only;
  return only;
}
[[maybe_unused]] const Census& begun = census();

}  // namespace

std::size_t tulp::test::mapped_slab_count() { return Slabs::count(); }
void tulp::test::accept_open_descriptors() { census().accept_what_is_open(); }
