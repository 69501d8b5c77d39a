// children: what it takes to start children, and to talk with one.  Each line that it prints is "name value".
//
//   children short COUNT JOBS      so many children that end at once, each with an exit code of its own, so many at a time
//   children cat BYTES             so much through `cat` and back, every byte compared
//   children start COUNT BYTES     how long a start takes, with so much memory in use, and how long a fork() does
#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <tulp/tulp.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

template <class Value>
void print(const char* name, Value value) {
  std::cout << name << ' ' << value << std::endl;
}

std::size_t open_descriptor_count() {
  std::size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

void run_short(int count, int jobs) {
  tulp::create_subprocess_exec({"true"}).wait();  // what is made once is there
  const std::size_t descriptors = open_descriptor_count();
  const Clock::time_point begin = Clock::now();
  int next = 0, wrong = 0;
  std::vector<tulp::Task<>> tasks;
  for (int i = 0; i < jobs; ++i) {
    tasks.push_back(tulp::create_task([&] {
      while (next < count) {
        const int code = next++ % 256;
        if (tulp::create_subprocess_exec({"sh", "-c", "exit " + std::to_string(code)}).wait() != code) ++wrong;
      }
    }));
  }
  for (const auto& task : tasks) tulp::await(task);
  print("seconds", seconds_since(begin));
  print("wrong", wrong);
  print("zombies", ::waitpid(-1, nullptr, WNOHANG) == -1 ? 0 : 1);
  print("leaked", open_descriptor_count() - descriptors);
}

/// Bytes that repeat after a length that nothing else has.
std::string pattern() {
  std::string bytes(999'983, '\0');
  std::uint32_t state = 1;
  for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

/// Not getrusage(2): its peak has that of whoever has started this program in it.
long peak_resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6));
  return -1;
}

void run_cat(std::uint64_t size) {
  const std::string sent = pattern();
  auto cat = tulp::create_subprocess_exec({"cat"}, {.stdin_ = tulp::PIPE, .stdout_ = tulp::PIPE});
  const Clock::time_point begin = Clock::now();
  auto feeding = tulp::create_task([&] {
    for (std::uint64_t left = size; left > 0;) {
      const std::size_t piece = std::min<std::uint64_t>(left, sent.size());
      cat.stdin_().write(std::string_view(sent).substr(0, piece));
      left -= piece;
    }
    cat.stdin_().close();
  });
  std::uint64_t received = 0;
  std::size_t wrong = 0;
  for (auto piece = cat.stdout_().read_view(); !piece.empty(); piece = cat.stdout_().read_view()) {
    while (!piece.empty()) {
      const std::size_t at = received % sent.size();
      const std::size_t length = std::min(piece.size(), sent.size() - at);
      if (std::memcmp(piece.data(), sent.data() + at, length) != 0) ++wrong;
      received += length;
      piece.remove_prefix(length);
    }
  }
  tulp::await(feeding);
  print("code", cat.wait());
  print("seconds", seconds_since(begin));
  print("received", received);
  print("wrong", wrong);
  print("resident_kib", peak_resident_kib());
}

/// The tenth that is exceeded by nine: what a start takes when nobody else wants the core.
double lower_tenth(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 10, values.end());
  return values[values.size() / 10];
}

double start_by_fork() {
  const Clock::time_point begin = Clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/true", "true", nullptr);
    ::_exit(127);
  }
  const double time = seconds_since(begin);
  ::waitpid(child, nullptr, 0);
  return time;
}

void run_start(int count, std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory");
  ::madvise(memory, bytes, MADV_NOHUGEPAGE);  // as a program's heap mostly is
  for (std::size_t at = 0; at < bytes; at += 4096) static_cast<char*>(memory)[at] = 1;
  std::vector<double> starts, forks;
  for (int i = 0; i < count; ++i) {
    const Clock::time_point begin = Clock::now();
    auto child = tulp::create_subprocess_exec({"/bin/true"});
    starts.push_back(seconds_since(begin));
    child.wait();
  }
  for (int i = 0; i < 10; ++i) forks.push_back(start_by_fork());
  print("start_us", lower_tenth(starts) * 1e6);
  print("fork_us", lower_tenth(forks) * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  return tulp::run_main([&] {
    const std::string what = args.empty() ? "" : args[0];
    if (what == "short" && args.size() == 3) return run_short(std::stoi(args[1]), std::stoi(args[2]));
    if (what == "cat" && args.size() == 2) return run_cat(std::stoull(args[1]));
    if (what == "start" && args.size() == 3) return run_start(std::stoi(args[1]), std::stoull(args[2]));
    throw std::invalid_argument("usage: children short COUNT JOBS | cat BYTES | start COUNT BYTES");
  });
}
