// Bytes through what is not a socket.
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <cstdint>
#include <cstring>

#include "posix/ends.hpp"
#include "posix/stage.hpp"

namespace tulp::test {
namespace {

/// A FIFO, for which the kernel has no way of not waiting but O_NONBLOCK.  a is read, b is written.
Ends fifo() {
  char folder[] = "/tmp/tulp-fifo-XXXXXX";
  must(::mkdtemp(folder) != nullptr, "mkdtemp");
  const std::string path = std::string(folder) + "/fifo";
  must(::mkfifo(path.c_str(), 0600) == 0, "mkfifo");
  const Fd both(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  Ends ends{Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC))};
  ::unlink(path.c_str());
  ::rmdir(folder);
  return ends;
}

using Make = Ends (*)();

void pipes(Stage& s, Make make) {
  Ends ends = make();
  char into[64];
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(ends.b, "hello", 5);
  });
  s.see("read of more than comes", [&] { return s.calls.read(ends.a, into, sizeof into); });
  writer->join();
  s.calls.write(ends.b, "abcdef", 6);
  iovec views[2] = {{into, 2}, {into + 2, 3}};
  s.see("readv", [&] { return s.calls.readv(ends.a, views, 2); });
  s.see("the rest", [&] { return s.calls.read(ends.a, into + 5, 60); });
  s.note(std::string(into, 6));
  s.see("nothing asked for", [&] { return s.calls.read(ends.a, into, 0); });
  const std::string much(1'000'000, 'm');
  std::size_t received = 0;
  auto reader = s.start([&] {
    std::string room(5'000, ' ');
    while (received < 2 * much.size()) {
      const ssize_t got = s.calls.read(ends.a, room.data(), room.size());
      if (got <= 0) break;
      received += static_cast<std::size_t>(got);
    }
  });
  s.see("write of much", [&] { return s.calls.write(ends.b, much.data(), much.size()); });
  const iovec pieces[3] = {
      {const_cast<char*>(much.data()), 10}, {nullptr, 0}, {const_cast<char*>(much.data()), much.size() - 10}};
  s.see("writev of much", [&] { return s.calls.writev(ends.b, pieces, 3); });
  reader->join();
  s.note(std::to_string(received));
  auto closer = s.start([&] {
    s.pause(20);
    ends.b.close();
  });
  s.see("until the end", [&] { return s.calls.read(ends.a, into, sizeof into); });
  closer->join();
}

void pipes_without_readers(Stage& s, Make make) {
  Ends ends = make();
  const std::string much(1'000'000, 'm');
  auto closer = s.start([&] {
    s.pause(30);
    ends.a.close();
  });
  s.note("write: " + Stage::part(s.calls.write(ends.b, much.data(), much.size()), much.size()));
  closer->join();
  s.see("and then", [&] { return s.calls.write(ends.b, "x", 1); });
}

void pipes_that_do_not_wait(Stage& s, Make make) {
  Ends ends = make();
  char into[16];
  const std::string much(1'000'000, 'm');
  set_non_blocking(ends.a);
  set_non_blocking(ends.b);
  s.see("read", [&] { return s.calls.read(ends.a, into, sizeof into); });
  iovec view{into, sizeof into};
  s.see("readv", [&] { return s.calls.readv(ends.a, &view, 1); });
  s.note("write: " + Stage::part(s.calls.write(ends.b, much.data(), much.size()), much.size()));
  s.see("write when all is full", [&] { return s.calls.write(ends.b, "x", 1); });
  s.see("flags", [&] { return ::fcntl(ends.b, F_GETFL) & O_NONBLOCK; });
  while (s.calls.read(ends.a, into, sizeof into) > 0) {
  }
  ends.b.close();
  s.see("the end", [&] { return s.calls.read(ends.a, into, sizeof into); });
}

/// What fits into one page is written whole or not at all, whoever else writes.
void pieces_of_pipes_are_whole(Stage& s, Make make) {
  const Ends ends = make();
  const auto write = [&](char letter) {
    return s.start([&s, &ends, letter] {
      const std::string piece(3000, letter);
      for (int i = 0; i < 50; ++i) s.calls.write(ends.b, piece.data(), piece.size());
    });
  };
  auto one = write('a');
  auto two = write('b');
  std::string got(300'000, ' ');
  std::size_t received = 0;
  while (received < got.size()) {
    const ssize_t size = s.calls.read(ends.a, got.data() + received, 7'001);
    if (size <= 0) break;
    received += static_cast<std::size_t>(size);
  }
  one->join();
  two->join();
  bool is_whole = true;
  for (std::size_t at = 0; at < received; at += 3000)
    is_whole &= got.find_first_not_of(got[at], at) >= std::min(at + 3000, received);
  s.note(is_whole ? "whole" : "mixed");
}

void files(Stage& s) {
  char name[] = "/tmp/tulp-file-XXXXXX";
  const Fd file(::mkstemp(name));
  ::unlink(name);
  const std::string much(300'000, 'm');
  std::string into(400'000, ' ');
  s.see("write", [&] { return s.calls.write(file, much.data(), much.size()); });
  iovec views[2] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("cd"), 2}};
  s.see("writev", [&] { return s.calls.writev(file, views, 2); });
  s.see("where it is", [&] { return ::lseek(file, 0, SEEK_CUR); });
  s.see("the end", [&] { return s.calls.read(file, into.data(), 10); });
  ::lseek(file, 0, SEEK_SET);
  s.see("read of a part", [&] { return s.calls.read(file, into.data(), 100'000); });
  s.see("read of all the rest", [&] { return s.calls.read(file, into.data(), into.size()); });
  ::lseek(file, 300'000, SEEK_SET);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  char first[3], second[9];
  const iovec room[2] = {{first, sizeof first}, {second, sizeof second}};
  s.see("readv", [&] { return s.calls.readv(file, room, 2); });
  s.note(std::string(first, 3) + std::string(second, 1));
  const Fd folder(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  s.see("read of a folder", [&] { return s.calls.read(folder, into.data(), 10); });
  const Fd for_reading(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  s.see("read of /proc", [&] { return s.calls.read(for_reading, into.data(), 5); });
  s.see("write to what is for reading", [&] { return s.calls.write(for_reading, "x", 1); });
}

void devices(Stage& s) {
  char into[16];
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC)), zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const Fd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  s.see("read of /dev/null", [&] { return s.calls.read(null, into, sizeof into); });
  s.see("write to /dev/null", [&] { return s.calls.write(null, into, sizeof into); });
  s.see("read of /dev/zero", [&] { return s.calls.read(zero, into, sizeof into); });
  s.see("write to /dev/full", [&] { return s.calls.write(full, into, sizeof into); });
}

void counters(Stage& s) {
  const Fd event(::eventfd(0, EFD_CLOEXEC));
  std::uint64_t value = 0;
  auto adder = s.start([&] {
    const std::uint64_t five = 5;
    s.pause(20);
    s.calls.write(event, &five, sizeof five);
  });
  s.see("read of an eventfd", [&] { return s.calls.read(event, &value, sizeof value); });
  adder->join();
  s.note(std::to_string(value));
  s.see("with too little room", [&] { return s.calls.read(event, &value, 4); });
  const std::uint64_t most = ~std::uint64_t{1};
  s.calls.write(event, &most, sizeof most);
  auto taker = s.start([&] {
    std::uint64_t taken = 0;
    s.pause(20);
    s.calls.read(event, &taken, sizeof taken);
  });
  s.see("write when it is full", [&] { return s.calls.write(event, &(value = 1), sizeof value); });
  taker->join();
  const Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const itimerspec soon{{0, 0}, {0, 30'000'000}};
  ::timerfd_settime(timer, 0, &soon, nullptr);
  s.see_wait("read of a timerfd", 28, [&] { return s.calls.read(timer, &value, sizeof value); });
}

void terminals(Stage& s) {
  const Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  must(::grantpt(master) == 0 && ::unlockpt(master) == 0, "pty");
  Fd terminal(::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC));
  char into[64];
  auto typist = s.start([&] {
    s.calls.write(master, "a li", 4);
    s.pause(20);
    s.calls.write(master, "ne\n", 3);
  });
  s.see("read of a line", [&] { return s.calls.read(terminal, into, sizeof into); });
  typist->join();
  s.note(std::string(into, 6));
  s.see("write of a line", [&] { return s.calls.write(terminal, "out\n", 4); });
  std::string seen;
  while (seen.find("out") == std::string::npos) {
    const ssize_t got = s.calls.read(master, into, sizeof into);
    if (got <= 0) break;
    seen.append(into, static_cast<std::size_t>(got));
  }
  const std::string much(60'000, 'm');
  std::size_t count = 0;
  auto reader = s.start([&] {
    char room[512];
    s.pause(20);
    while (count < much.size()) {
      const ssize_t got = s.calls.read(master, room, sizeof room);
      if (got <= 0) break;
      for (ssize_t i = 0; i < got; ++i) count += room[i] == 'm';
    }
  });
  s.see("write of much", [&] { return s.calls.write(terminal, much.data(), much.size()); });
  reader->join();
  s.note(std::to_string(count));
  terminal.close();
  s.see("after the hang-up", [&] {
    ssize_t got = 0;
    while ((got = s.calls.read(master, into, sizeof into)) > 0) {
    }
    return got;
  });
}

Ends pipe() { return pipe_pair(); }
template <void (*scenario)(Stage&, Make), Make make>
void of(Stage& s) {
  scenario(s, make);
}

}  // namespace

const Scenarios& file_scenarios() {
  static const Scenarios all = {
#define TULP_EACH(name) {#name " (pipe)", of<name, pipe>}, {#name " (FIFO)", of<name, fifo>}
      TULP_EACH(pipes),
      TULP_EACH(pipes_without_readers),
      TULP_EACH(pipes_that_do_not_wait),
      TULP_EACH(pieces_of_pipes_are_whole),
#undef TULP_EACH
      {"files", files},
      {"devices", devices},
      {"counters", counters},
      {"terminals", terminals},
  };
  return all;
}

}  // namespace tulp::test
