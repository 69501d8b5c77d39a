// How a wait grows with descriptors that have nothing to say: one that is busy, beside more and more that are idle.
//
//   tulp_selectors [IDLE...]      how many idle ones, one line each (default 10 100 1000 10000)
#include <tulp/tulp.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace {

using namespace std::chrono_literals;
using tulp::SelectorKind;

class Pipe {
 public:
  Pipe() {
    if (::pipe(ends_.data()) != 0) tulp::throw_os_error(errno, "pipe");
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    for (const int end : ends_) ::close(end);
  }
  int out() const { return ends_[0]; }
  void put() const {
    if (::write(ends_[1], "", 1) != 1) tulp::throw_os_error(errno, "write");
  }
  void take() const {
    char byte = 0;
    if (::read(ends_[0], &byte, 1) != 1) tulp::throw_os_error(errno, "read");
  }

 private:
  std::array<int, 2> ends_;
};

/// Descriptors on which nothing ever happens: duplicates of one end of a pipe.
class Idle {
 public:
  explicit Idle(int count) {
    for (int i = 0; i < count; ++i) {
      duplicates_.push_back(::dup(pipe_.out()));
      if (duplicates_.back() < 0) tulp::throw_os_error(errno, "dup");
    }
  }
  Idle(const Idle&) = delete;
  Idle& operator=(const Idle&) = delete;
  ~Idle() {
    for (const int fd : duplicates_) ::close(fd);
  }
  auto begin() const { return duplicates_.begin(); }
  auto end() const { return duplicates_.end(); }

 private:
  Pipe pipe_;
  std::vector<int> duplicates_;
};

/// A byte goes round through a busy pipe, once in each iteration of a loop that watches the idle ones too.
double microseconds_per_round(SelectorKind kind, const Idle& idle) {
  constexpr int rounds_per_look = 50;
  const Pipe busy;
  const auto loop = tulp::new_event_loop({.selector = kind});
  for (const int fd : idle) loop->add_reader(fd, [] {});
  int rounds = 0;
  std::chrono::duration<double, std::micro> time{};
  const auto start = std::chrono::steady_clock::now();
  loop->add_reader(busy.out(), [&] {
    busy.take();
    if (++rounds % rounds_per_look == 0) {
      time = std::chrono::steady_clock::now() - start;
      if (time > 100ms) return loop->stop();
    }
    busy.put();
  });
  busy.put();
  loop->run_forever();
  loop->close();
  return time.count() / rounds;
}

void report(SelectorKind kind, const Idle& idle) {
  try {
    std::printf(" %8.1f us", microseconds_per_round(kind, idle));
  } catch (const tulp::OsError&) {
    std::printf(" %11s", "refused");
  } catch (const std::invalid_argument&) {
    std::printf(" %11s", "not here");
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  std::vector<int> counts;
  for (int i = 1; i < argc; ++i) counts.push_back(std::atoi(argv[i]));
  if (counts.empty()) counts = {10, 100, 1000, 10'000};

  std::printf("%8s %11s %11s %11s %11s\n", "idle", "epoll", "kqueue", "poll", "select");
  for (const int count : counts) {
    try {
      const Idle idle(count);
      std::printf("%8d", count);
      for (const auto kind : {SelectorKind::epoll, SelectorKind::kqueue, SelectorKind::poll, SelectorKind::select})
        report(kind, idle);
      std::printf("\n");
    } catch (const tulp::OsError& error) {
      std::printf("%8d cannot be had: %s\n", count, error.what());
    }
  }
}
