// What blocking calls cost: one line "name value unit" each, the median of five runs.
//
//   tulp_blocking                                    in tasks and on threads, by tulp::posix
//   LD_PRELOAD=.../libtulp-blocking.so tulp_blocking calls
//   tulp_blocking calls                              off a fiber, with and without the library: the difference is its cost
#include <tulp/posix.hpp>
#include <tulp/tulp.hpp>

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>

namespace {

template <class Run>
void report(std::string_view name, int count, Run run) {
  std::array<double, 5> results;
  for (double& result : results) {
    const auto begin = std::chrono::steady_clock::now();
    run(count);
    result = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count() / count;
  }
  std::sort(results.begin(), results.end());
  std::printf("%-44.*s %10.1f ns\n", static_cast<int>(name.size()), name.data(), results[2]);
  std::fflush(stdout);
}

struct Pair {
  Pair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
  }
  ~Pair() {
    for (const int end : ends) ::close(end);
  }
  int ends[2];
};

/// Sends a byte there and back, which makes two waits.
template <class Read, class Write>
void answer(int fd, int count, Read read, Write write) {
  char byte = 'x';
  for (int i = 0; i < count; ++i) {
    read(fd, &byte);
    write(fd, &byte);
  }
}
template <class Read, class Write>
void ask(int fd, int count, Read read, Write write) {
  char byte = 'x';
  for (int i = 0; i < count; ++i) {
    write(fd, &byte);
    read(fd, &byte);
  }
}

template <class Read, class Write>
void round_trips_in_tasks(std::string_view name, Read read, Write write) {
  report(name, 100'000, [&](int count) {
    const Pair pair;
    tulp::run([&] {
      auto other = tulp::create_task([&] { answer(pair.ends[1], count, read, write); });
      ask(pair.ends[0], count, read, write);
      tulp::await(other);
    });
  });
}

void calls() {
  const Pair pair;
  char byte = 'x';
  report("recv of nothing, MSG_DONTWAIT", 1'000'000, [&](int count) {
    for (int i = 0; i < count; ++i) ::recv(pair.ends[0], &byte, 1, MSG_DONTWAIT);
  });
  report("close of nothing", 1'000'000, [](int count) {
    for (int i = 0; i < count; ++i) ::close(-1);
  });
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  report("lock and unlock a mutex", 10'000'000, [&](int count) {
    for (int i = 0; i < count; ++i) {
      ::pthread_mutex_lock(&mutex);
      ::pthread_mutex_unlock(&mutex);
    }
  });
}

}  // namespace

int main(int argc, char**) {
  calls();
  if (argc > 1) return 0;
  round_trips_in_tasks(
      "round trip by tulp::posix::read and write", [](int fd, char* byte) { tulp::posix::read(fd, byte, 1); },
      [](int fd, char* byte) { tulp::posix::write(fd, byte, 1); });
  round_trips_in_tasks(
      "round trip by sock_recv and sock_sendall",
      [](int fd, char* byte) {
        tulp::sock_recv_into(fd, {byte, 1});
      },
      [](int fd, char* byte) {
        tulp::sock_sendall(fd, {byte, 1});
      });
  report("round trip between threads", 20'000, [](int count) {
    const Pair pair;
    const auto read = [](int fd, char* byte) { return ::read(fd, byte, 1) == 1; };
    const auto write = [](int fd, char* byte) { return ::write(fd, byte, 1) == 1; };
    std::thread other([&] { answer(pair.ends[1], count, read, write); });
    ask(pair.ends[0], count, read, write);
    other.join();
  });
  report("a call that need not wait, in a task", 1'000'000, [](int count) {
    const Pair pair;
    tulp::run([&] {
      char byte = 'x';
      for (int i = 0; i < count; ++i) {
        tulp::posix::write(pair.ends[0], &byte, 1);
        tulp::posix::read(pair.ends[1], &byte, 1);
      }
    });
  });
  return 0;
}
