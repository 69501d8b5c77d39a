// What a test does with processes, their threads, memory and stderr: a child that may die, and stderr read back.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "base/unique_fd.hpp"
#include "support/catch.hpp"

namespace tulp::test {

inline std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

/// stderr goes to a file while this lives.
class CapturedStderr {
 public:
  CapturedStderr() : saved_(::fcntl(2, F_DUPFD_CLOEXEC, 3)), file_(::memfd_create("stderr", MFD_CLOEXEC)) {
    std::fflush(stderr);
    ::dup2(file_, 2);
  }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;
  ~CapturedStderr() {
    std::fflush(stderr);
    ::dup2(saved_, 2);
    ::close(saved_);
    ::close(file_);
  }
  std::string text() const {
    std::fflush(stderr);
    ::lseek(file_, 0, SEEK_SET);
    return read_all(file_);
  }

 private:
  int saved_;
  int file_;
};

/// A file without a name that holds `text`, at its beginning.
inline UniqueFd file_with(std::string_view text) {
  UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    REQUIRE(written > 0);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

/// How much memory the process has in use.
inline std::size_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  REQUIRE(file != nullptr);
  unsigned long whole = 0, resident = 0;
  CHECK(std::fscanf(file, "%lu %lu", &whole, &resident) == 2);
  std::fclose(file);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

inline std::size_t thread_count() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

/// Waits until the process has no more than `count` threads.
inline void wait_for_threads(std::size_t count) {
  for (int i = 0; i < 10'000 && thread_count() > count; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(thread_count() <= count);
}

struct ChildEnd {
  int status;
  std::string errors;  // what it wrote to stderr

  bool exited_with(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
  bool died_of(int signal) const { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }
};

/// Runs `body` in a child, which then exits by exit(0) and is killed if it takes longer than ten seconds.
template <class Body>
ChildEnd run_in_child(Body body) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(10);
    ::dup2(ends[1], 2);
    ::close(ends[0]);
    ::close(ends[1]);
    body();
    std::exit(0);
  }
  ::close(ends[1]);
  ChildEnd end{0, read_all(ends[0])};
  ::close(ends[0]);
  REQUIRE(::waitpid(child, &end.status, 0) == child);
  return end;
}

}  // namespace tulp::test
