// Waiting for descriptors, times, children and names.
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <ctime>

#include "posix/ends.hpp"
#include "posix/stage.hpp"

namespace tulp::test {
namespace {

constexpr int limit = 50;  // ms
constexpr timespec limit_spec{0, limit * 1'000'000};

std::string events(const pollfd& polled) {
  std::string text;
  const auto add = [&](short event, const char* name) {
    if ((polled.revents & event) != 0) text += name;
  };
  add(POLLIN, " in"), add(POLLOUT, " out"), add(POLLPRI, " pri"), add(POLLRDHUP, " rdhup"), add(POLLHUP, " hup");
  add(POLLERR, " err"), add(POLLNVAL, " nval");
  return text.empty() ? " nothing" : text;
}

void poll(Stage& s) {
  Ends ends = unix_pair(), pipe = pipe_pair(), other = unix_pair();
  std::array<pollfd, 5> fds = {pollfd{ends.a, POLLIN, 0}, pollfd{pipe.a, POLLIN, 0}, pollfd{-1, POLLIN, 0},
                               pollfd{ends.a, POLLIN, 0}, pollfd{other.a, 0, 0}};
  const auto note = [&] {
    for (const pollfd& one : fds) s.note(events(one));
  };
  s.see("at once", [&] { return s.calls.poll(fds.data(), fds.size(), 0); });
  s.see_wait("until the limit", limit, [&] { return s.calls.poll(fds.data(), fds.size(), limit); });
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(ends.b, "x", 1);
  });
  s.see("until one is ready", [&] { return s.calls.poll(fds.data(), fds.size(), -1); });
  writer->join();
  note();
  char into[4];
  s.calls.read(ends.a, into, 4);
  auto closer = s.start([&] {
    s.pause(20);
    pipe.b.close();
  });
  s.see("until one hangs up", [&] { return s.calls.poll(fds.data(), fds.size(), 10'000); });
  closer->join();
  note();
  fds[1].fd = -1;
  auto other_closer = s.start([&] {
    s.pause(20);
    other.b.close();
  });
  s.see("until one of which nothing is asked hangs up", [&] { return s.calls.poll(fds.data(), fds.size(), 10'000); });
  other_closer->join();
  note();
  fds[1].fd = 1000;
  s.see("with one that is not open", [&] { return s.calls.poll(fds.data(), fds.size(), -1); });
  note();
  s.see_wait("with none", limit, [&] { return s.calls.poll(nullptr, 0, limit); });
  pollfd both{ends.a, POLLIN | POLLOUT, 0};
  s.see("for two things", [&] { return s.calls.poll(&both, 1, -1); });
  s.note(events(both));
}

/// What is ready, but not for what is asked for, does not keep anybody busy, nor the wait from its end.
void poll_of_what_is_ready_otherwise(Stage& s) {
  Ends ends = tcp_pair();
  s.calls.write(ends.b, "x", 1);
  pollfd urgent{ends.a, POLLPRI, 0};
  s.see_wait("for urgent data", limit, [&] { return s.calls.poll(&urgent, 1, limit); });
  pollfd half{ends.a, POLLRDHUP, 0};
  s.see_wait("for the peer's end", limit, [&] { return s.calls.poll(&half, 1, limit); });
  auto sender = s.start([&] {
    s.pause(20);
    s.calls.send(ends.b, "u", 1, MSG_OOB);
  });
  s.see("until there is some", [&] { return s.calls.poll(&urgent, 1, -1); });
  sender->join();
  s.note(events(urgent));
}

void ppoll(Stage& s) {
  const Ends ends = unix_pair();
  pollfd one{ends.a, POLLIN, 0};
  sigset_t none;
  sigemptyset(&none);
  s.see_wait("ppoll", limit, [&] { return s.calls.ppoll(&one, 1, &limit_spec, nullptr); });
  s.see_wait("with a mask", limit, [&] { return s.calls.ppoll(&one, 1, &limit_spec, &none); });
  const timespec wrong{0, 2'000'000'000};
  s.see("with no time", [&] { return s.calls.ppoll(&one, 1, &wrong, nullptr); });
  s.calls.write(ends.b, "x", 1);
  s.see("for ever", [&] { return s.calls.ppoll(&one, 1, nullptr, &none); });
  const epoll_event event{EPOLLIN, {.u64 = 7}};
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event found[4];
  s.see_wait("epoll_wait", limit, [&] { return s.calls.epoll_wait(epoll, found, 4, limit); });
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, ends.b, const_cast<epoll_event*>(&event));
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(ends.a, "x", 1);
  });
  s.see("until one is ready", [&] { return s.calls.epoll_wait(epoll, found, 4, -1); });
  writer->join();
  s.see("which one", [&] { return static_cast<int>(found[0].data.u64); });
  s.see("of a pipe", [&] { return s.calls.epoll_wait(pipe_pair().a, found, 4, -1); });
  s.see("room for none", [&] { return s.calls.epoll_wait(epoll, found, 0, -1); });
}

void select(Stage& s) {
  const Ends ends = unix_pair(), pipe = pipe_pair();
  const int end = std::max(ends.a.fd, pipe.a.fd) + 1;
  fd_set readable, writable;
  const auto ask = [&] {
    FD_ZERO(&readable);
    FD_SET(ends.a, &readable);
    FD_SET(pipe.a, &readable);
    FD_ZERO(&writable);
  };
  const auto note = [&] {
    s.note(std::string(FD_ISSET(ends.a, &readable) ? "socket " : "") + (FD_ISSET(pipe.a, &readable) ? "pipe " : "") +
           (FD_ISSET(ends.a, &writable) ? "write" : ""));
  };
  timeval time{0, limit * 1000};
  ask();
  s.see_wait("select", limit, [&] { return s.calls.select(end, &readable, &writable, nullptr, &time); });
  note();
  s.note(time.tv_sec == 0 && time.tv_usec == 0 ? "no time left" : "time left");
  ask();
  s.see_wait("pselect", limit, [&] { return s.calls.pselect(end, &readable, nullptr, nullptr, &limit_spec, nullptr); });
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(pipe.b, "x", 1);
  });
  time = {100, 0};
  ask();
  s.see("until one is ready", [&] { return s.calls.select(end, &readable, &writable, nullptr, &time); });
  writer->join();
  note();
  s.note(time.tv_sec >= 50 && time.tv_sec < 100 ? "time left" : "no time left");
  ask();
  FD_SET(ends.a, &writable);
  s.see("two of them", [&] { return s.calls.select(end, &readable, &writable, nullptr, nullptr); });
  note();
  ask();
  FD_SET(900, &readable);
  s.see("with one that is not open", [&] { return s.calls.select(901, &readable, nullptr, nullptr, nullptr); });
  s.see("of fewer than none", [&] { return s.calls.select(-1, nullptr, nullptr, nullptr, nullptr); });
  time = {-1, 0};
  s.see("with no time", [&] { return s.calls.select(0, nullptr, nullptr, nullptr, &time); });
  time = {0, limit * 1000};
  s.see_wait("of none", limit, [&] { return s.calls.select(0, nullptr, nullptr, nullptr, &time); });
  time = {0, 0};
  s.see("at once", [&] { return s.calls.select(0, nullptr, nullptr, nullptr, &time); });
}

void sleeping(Stage& s) {
  timespec left{9, 9};
  s.see_wait("nanosleep", limit, [&] { return s.calls.nanosleep(&limit_spec, &left); });
  s.note(std::to_string(left.tv_sec));
  s.see_wait("usleep", limit, [&] { return s.calls.usleep(limit * 1000); });
  s.see("sleep", [&] { return static_cast<int>(s.calls.sleep(0)); });
  const timespec wrong{0, -1};
  s.see("no time", [&] { return s.calls.nanosleep(&wrong, nullptr); });
  s.see_wait("clock_nanosleep", limit,
             [&] { return s.calls.clock_nanosleep(CLOCK_REALTIME, 0, &limit_spec, nullptr); });
  timespec until{};
  ::clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += limit * 1'000'000;
  if (until.tv_nsec >= 1'000'000'000) until.tv_nsec -= 1'000'000'000, ++until.tv_sec;
  s.see_wait("until a time", limit,
             [&] { return s.calls.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr); });
  s.see("which has passed", [&] { return s.calls.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr); });
  s.see("no time by a clock", [&] { return s.calls.clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong, nullptr); });
  s.see("no clock", [&] { return s.calls.clock_nanosleep(99, 0, &limit_spec, nullptr); });
}

template <class Body>
pid_t child(Body body) {
  const pid_t process = ::fork();
  if (process == 0) {
    body();
    ::_exit(3);
  }
  return process;
}
void nap(int milliseconds) {
  timespec time{0, milliseconds * 1'000'000};
  while (::syscall(SYS_nanosleep, &time, &time) != 0) {
  }
}

void children(Stage& s) {
  int status = 0;
  pid_t process = child([] { nap(4 * limit); });
  s.see("one that runs", [&] { return s.calls.waitpid(process, &status, WNOHANG); });
  s.see_wait("one that ends", limit / 2, [&] { return s.calls.waitpid(process, &status, 0) == process ? 1 : -1; });
  s.note(std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
  s.see("once more", [&] { return s.calls.waitpid(process, &status, 0); });
  process = child([] { ::raise(SIGKILL); });
  s.see("one that is killed", [&] { return s.calls.waitpid(process, nullptr, 0) == process ? 1 : -1; });
  process = child([] { ::raise(SIGSTOP); });
  s.see("one that stops", [&] { return s.calls.waitpid(process, &status, WUNTRACED) == process ? 1 : -1; });
  s.note(WIFSTOPPED(status) ? "stopped" : "not stopped");
  ::kill(process, SIGCONT);
  s.see("and goes on to its end", [&] { return s.calls.waitpid(process, &status, 0) == process ? 1 : -1; });
  s.see("no child", [&] { return s.calls.waitpid(1, &status, 0); });
  s.see("flags that are none", [&] { return s.calls.waitpid(process, &status, 0x100); });
}

std::string answer(const addrinfo* found) {
  std::string text;
  for (; found != nullptr; found = found->ai_next) {
    char host[64], service[16];
    ::getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service,
                  NI_NUMERICHOST | NI_NUMERICSERV);
    text += std::string(host) + "/" + service + "/" + std::to_string(found->ai_socktype) + " ";
  }
  return text;
}

void names(Stage& s) {
  const auto look_up = [&](const char* what, const char* host, const char* service, int flags) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_flags = flags;
    hints.ai_socktype = SOCK_STREAM;
    s.see(what, [&] { return s.calls.getaddrinfo(host, service, &hints, &found); });
    s.note(answer(found));
    if (found != nullptr) ::freeaddrinfo(found);
  };
  look_up("a name", "localhost", "80", 0);
  look_up("a number", "127.0.0.1", "80", 0);
  look_up("a number in short", "127.1", "80", 0);
  look_up("a number of the other family", "::1", "443", AI_NUMERICHOST);
  look_up("no number", "localhost", "80", AI_NUMERICHOST);
  look_up("every address", nullptr, "80", AI_PASSIVE);
  look_up("no service", "localhost", "no-such-service", 0);
  look_up("nothing", nullptr, nullptr, 0);
  look_up("flags that are none", "localhost", "80", 0x40000000);
  addrinfo* found = nullptr;
  s.see("without hints", [&] { return s.calls.getaddrinfo("localhost", nullptr, nullptr, &found); });
  s.note(answer(found));
  ::freeaddrinfo(found);
  Loopback address;
  char host[64] = "", service[32] = "";
  s.see("getnameinfo", [&] {
    return s.calls.getnameinfo(address.get(), address.size, host, sizeof host, service, sizeof service, NI_NUMERICSERV);
  });
  s.note(std::string(host) + " " + service);
  s.see("with too little room",
        [&] { return s.calls.getnameinfo(address.get(), address.size, host, 3, nullptr, 0, 0); });
  s.see("of half an address", [&] { return s.calls.getnameinfo(address.get(), 4, host, sizeof host, nullptr, 0, 0); });
  for (const char* name : {"localhost", "127.0.0.1", "not a name"}) {
    const hostent* entry = s.calls.gethostbyname(name);
    s.note(std::string(name) + ": " + (entry != nullptr ? entry->h_name : "none, h_errno " + std::to_string(h_errno)));
    if (entry != nullptr && entry->h_addr_list[0] != nullptr)
      s.note(::inet_ntoa(*reinterpret_cast<in_addr*>(entry->h_addr_list[0])));
  }
}

void closing(Stage& s) {
  Ends ends = unix_pair();
  const int fd = ends.a;
  s.see("close", [&] { return s.calls.close(fd); });
  s.see("again", [&] { return s.calls.close(fd); });
  ends.a.fd = -1;
  s.see("nothing", [&] { return s.calls.close(-1); });
  char into[4];
  s.see("the other end", [&] { return s.calls.read(ends.b, into, sizeof into); });
}

/// A duplicate is the same open file, whichever of them is waited for and closed.
void duplicates(Stage& s) {
  Ends ends = unix_pair();
  Fd twin(::fcntl(ends.a, F_DUPFD_CLOEXEC, 0));
  char into[8];
  s.calls.write(ends.b, "abc", 3);
  s.see("one byte by the one", [&] { return s.calls.read(ends.a, into, 1); });
  s.see("and by the other", [&] { return s.calls.read(twin, into, 1); });
  s.calls.close(ends.a.fd);
  ends.a.fd = -1;
  s.see("which outlives it", [&] { return s.calls.read(twin, into, 1); });
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(ends.b, "d", 1);
  });
  s.see("and waits", [&] { return s.calls.read(twin, into, 1); });
  writer->join();
  set_non_blocking(twin);
  const Fd third(::fcntl(twin, F_DUPFD_CLOEXEC, 0));
  s.see("flags are the file's", [&] { return s.calls.read(third, into, 1); });
}

}  // namespace

const Scenarios& waiting_scenarios() {
  static const Scenarios all = {
      {"poll", poll},
      {"poll_of_what_is_ready_otherwise", poll_of_what_is_ready_otherwise},
      {"ppoll and epoll_wait", ppoll},
      {"select", select},
      {"sleeping", sleeping},
      {"children", children},
      {"names", names},
      {"closing", closing},
      {"duplicates", duplicates},
  };
  return all;
}

}  // namespace tulp::test
