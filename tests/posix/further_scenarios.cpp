// The calls that fewer programs use.
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cstring>

#include "posix/ends.hpp"
#include "posix/stage.hpp"

namespace tulp::test {
namespace {

constexpr int limit = 60;  // ms
constexpr timespec limit_spec{0, limit * 1'000'000};
constexpr int long_after = 4 * limit;  // the next call has begun by then, on a busy machine as well

Fd temporary_file(std::string* path = nullptr) {
  char name[] = "/tmp/tulp-file-XXXXXX";
  Fd file(::mkstemp(name));
  if (path != nullptr)
    *path = name;
  else
    ::unlink(name);
  return file;
}

/// Messages, and the memory that they come into or go out of.
template <std::size_t count>
struct Messages {
  std::array<char[8], count> texts{};
  std::array<iovec, count> views{};
  std::array<mmsghdr, count> headers{};
  Messages() {
    for (std::size_t i = 0; i < count; ++i) {
      views[i] = {texts[i], sizeof texts[i]};
      headers[i].msg_hdr.msg_iov = &views[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
  std::string sizes() const {
    std::string text;
    for (const mmsghdr& header : headers) text += std::to_string(header.msg_len) + " ";
    return text;
  }
};

void batches(Stage& s) {
  const Ends ends = unix_pair(SOCK_DGRAM);
  Messages<3> out;
  for (std::size_t i = 0; i < 3; ++i) out.views[i].iov_len = i + 1;
  Messages<3> in;
  int sent = -1;
  auto sender = s.start([&] {
    s.pause(20);
    sent = s.calls.sendmmsg(ends.b, out.headers.data(), 3, 0);
  });
  s.see("recvmmsg of all", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, 0, nullptr); });
  sender->join();
  s.see("sendmmsg", [&] { return sent; });
  s.note(in.sizes() + out.sizes());
  s.calls.send(ends.b, "xyz", 3, 0);
  s.see("for one", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, MSG_WAITFORONE, nullptr); });
  s.see("of none", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 0, 0, nullptr); });
  s.see("at once", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, MSG_DONTWAIT, nullptr); });
  timespec wrong{0, -1};
  s.see("no time", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, 0, &wrong); });
  auto late_sender = s.start([&] {
    for (const int pause : {limit, 2 * long_after}) s.pause(pause), s.calls.send(ends.b, "xyz", 3, 0);
  });
  timespec time{0, long_after * 1'000'000};
  s.see("a limit is looked at after each", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, 0, &time); });
  s.note(time.tv_sec == 0 && time.tv_nsec == 0 ? "no time left" : "time left");
  late_sender->join();
  set_limit(ends.a, SO_RCVTIMEO, limit);
  s.see_wait("nothing comes", limit, [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, 0, nullptr); });
  s.calls.send(ends.b, "xyz", 3, 0);
  s.see_wait("one comes", limit, [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, 0, nullptr); });
  set_non_blocking(ends.a);
  s.see("without waiting", [&] { return s.calls.recvmmsg(ends.a, in.headers.data(), 3, 0, nullptr); });
  s.see("of a pipe", [&] { return s.calls.recvmmsg(pipe_pair().a, in.headers.data(), 3, 0, nullptr); });
  s.see("to a pipe", [&] { return s.calls.sendmmsg(pipe_pair().b, out.headers.data(), 3, 0); });
  Messages<3> too_many;
  Fd full = unix_pair(SOCK_DGRAM).a;
  s.see("to nobody", [&] { return s.calls.sendmmsg(full, too_many.headers.data(), 3, MSG_NOSIGNAL); });
}

void sendfile(Stage& s) {
  const Fd file = temporary_file();
  const std::string text(2'000'000, 's');
  must(::pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()), "pwrite");
  Ends ends = tcp_pair();
  std::size_t received = 0;
  auto reader = s.start([&] {
    s.pause(20);
    std::string room(50'000, ' ');
    while (received < 2 * text.size() - 1000) {
      const ssize_t got = s.calls.read(ends.b, room.data(), room.size());
      if (got <= 0) break;
      received += static_cast<std::size_t>(got);
    }
  });
  s.see("sendfile of more than there is", [&] { return s.calls.sendfile(ends.a, file, nullptr, 3'000'000); });
  s.see("where the file is", [&] { return ::lseek(file, 0, SEEK_CUR); });
  s.see("at its end", [&] { return s.calls.sendfile(ends.a, file, nullptr, 10); });
  off_t offset = 1000;
  s.see("from somewhere", [&] { return s.calls.sendfile(ends.a, file, &offset, text.size()); });
  s.note(std::to_string(offset));
  reader->join();
  s.note(std::to_string(received));
  s.see("blocks as before", [&] { return ::fcntl(ends.a, F_GETFL) & O_NONBLOCK; });
  s.see("of a socket", [&] { return s.calls.sendfile(ends.a, ends.b, nullptr, 10); });
  s.see("of nothing", [&] { return s.calls.sendfile(ends.a, -1, nullptr, 10); });
  s.see("to nothing", [&] { return s.calls.sendfile(-1, file, nullptr, 10); });
  const Ends full = unix_pair();  // of TCP one cannot say when it is
  offset = 0;
  set_limit(full.a, SO_SNDTIMEO, limit);
  while (s.calls.send(full.a, text.data(), 4096, MSG_DONTWAIT) > 0) {
  }
  s.see_wait("nobody reads", limit, [&] { return s.calls.sendfile(full.a, file, &offset, text.size()); });
  s.note(std::to_string(offset));
  set_non_blocking(full.a);
  s.see("which need not wait", [&] { return s.calls.sendfile(full.a, file, &offset, text.size()); });
}

void locks(Stage& s) {
  std::string path;
  const Fd one = temporary_file(&path), other(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  s.see("flock", [&] { return s.calls.flock(one, LOCK_EX); });
  s.see("at once", [&] { return s.calls.flock(other, LOCK_EX | LOCK_NB); });
  int given_up = -1;
  auto owner = s.start([&] {
    s.pause(long_after);
    given_up = s.calls.flock(one, LOCK_UN);
  });
  s.see_wait("and waited for", limit, [&] { return s.calls.flock(other, LOCK_SH); });
  owner->join();
  s.see("it was given up", [&] { return given_up; });
  s.see("shared", [&] { return s.calls.flock(one, LOCK_SH); });
  s.see("of nothing", [&] { return s.calls.flock(-1, LOCK_EX); });
  s.see("no operation", [&] { return s.calls.flock(one, 77 & ~LOCK_NB); });
  int ready[2];
  must(::pipe2(ready, O_CLOEXEC) == 0, "pipe2");
  const pid_t child = ::fork();  // lockf's are a process's
  if (child == 0) {
    const Fd its_own(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (::syscall(SYS_lseek, its_own.fd, 0, SEEK_SET) != 0) ::_exit(1);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    if (::fcntl(its_own, F_SETLK, &whole) != 0 || ::syscall(SYS_write, ready[1], "x", 1) != 1) ::_exit(1);
    timespec time{0, long_after * 1'000'000};
    ::syscall(SYS_nanosleep, &time, nullptr);
    ::_exit(0);
  }
  char byte;
  must(::syscall(SYS_read, ready[0], &byte, 1) == 1, "child");
  s.see("lockf at once", [&] { return s.calls.lockf(one, F_TLOCK, 0); });
  s.see_wait("lockf", limit / 2, [&] { return s.calls.lockf(one, F_LOCK, 0); });
  s.see("and back", [&] { return s.calls.lockf(one, F_ULOCK, 0); });
  s.see("no command", [&] { return s.calls.lockf(one, 99, 0); });
  s.see("of nothing", [&] { return s.calls.lockf(-1, F_LOCK, 0); });
  s.calls.waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  ::unlink(path.c_str());
}

pid_t child_after(int milliseconds, int code) {
  const pid_t process = ::fork();
  if (process == 0) {
    timespec time{0, milliseconds * 1'000'000L};
    while (::syscall(SYS_nanosleep, &time, &time) != 0) {
    }
    ::_exit(code);
  }
  return process;
}

void ends_of_children(Stage& s) {
  int status = 0;
  rusage usage{};
  pid_t process = child_after(long_after, 4);
  s.see("wait4 of one that runs", [&] { return s.calls.wait4(process, &status, WNOHANG, &usage); });
  usage.ru_maxrss = 0;
  s.see_wait("wait4", limit / 2, [&] { return s.calls.wait4(process, &status, 0, &usage) == process ? 1 : -1; });
  s.note(std::to_string(WEXITSTATUS(status)) + (usage.ru_maxrss > 0 ? " with its usage" : " without"));
  s.see("once more", [&] { return s.calls.wait4(process, &status, 0, &usage); });
  process = child_after(long_after, 5);
  siginfo_t end{};
  s.see_wait("waitid, which leaves it", limit / 2,
             [&] { return s.calls.waitid(P_PID, static_cast<id_t>(process), &end, WEXITED | WNOWAIT); });
  s.note(end.si_pid == process && end.si_code == CLD_EXITED ? std::to_string(end.si_status) : "another");
  s.see("and takes it", [&] { return s.calls.waitid(P_PID, static_cast<id_t>(process), nullptr, WEXITED); });
  s.see("no child", [&] { return s.calls.waitid(P_PID, static_cast<id_t>(process), &end, WEXITED); });
  s.see("no state", [&] { return s.calls.waitid(P_PID, static_cast<id_t>(process), &end, 0); });
  process = child_after(1000, 0);
  ::kill(process, SIGSTOP);
  s.see("one that stops", [&] { return s.calls.waitid(P_PID, static_cast<id_t>(process), &end, WSTOPPED | WEXITED); });
  s.note(end.si_code == CLD_STOPPED ? "stopped" : "not stopped");
  ::kill(process, SIGKILL);
  s.see("and is killed", [&] { return s.calls.waitid(P_PID, static_cast<id_t>(process), &end, WEXITED); });
  s.note(end.si_code == CLD_KILLED ? std::to_string(end.si_status) : "not killed");
}

void epoll_with_masks(Stage& s) {
  const Ends ends = unix_pair();
  epoll_event event{EPOLLIN, {.u64 = 7}}, found[2];
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, ends.a, &event);
  sigset_t none;
  sigemptyset(&none);
  s.see_wait("epoll_pwait", limit, [&] { return s.calls.epoll_pwait(epoll, found, 2, limit, &none); });
  s.see_wait("epoll_pwait2", limit, [&] { return s.calls.epoll_pwait2(epoll, found, 2, &limit_spec, nullptr); });
  const timespec wrong{0, -1};
  s.see("no time", [&] { return s.calls.epoll_pwait2(epoll, found, 2, &wrong, nullptr); });
  auto writer = s.start([&] {
    s.pause(20);
    s.calls.write(ends.b, "x", 1);
  });
  s.see("until it is ready", [&] { return s.calls.epoll_pwait2(epoll, found, 2, nullptr, &none); });
  writer->join();
  s.see("of a pipe", [&] { return s.calls.epoll_pwait(pipe_pair().a, found, 2, -1, nullptr); });
}

std::string description(const hostent* entry) {
  if (entry == nullptr) return "none";
  std::string text = std::string(entry->h_name) + " " + std::to_string(entry->h_addrtype);
  for (char** alias = entry->h_aliases; *alias != nullptr; ++alias) text += std::string(" ") + *alias;
  for (char** address = entry->h_addr_list; *address != nullptr; ++address) {
    char number[64] = "";
    ::inet_ntop(entry->h_addrtype, *address, number, sizeof number);
    text += std::string(" ") + number;
  }
  return text;
}

void hosts(Stage& s) {
  const auto ask = [&](const char* what, std::size_t size, auto call) {
    std::string buffer(size, ' ');
    hostent into{}, *found = nullptr;
    int error = 0;
    errno = 0;
    const int result = call(&into, buffer.data(), size, &found, &error);
    s.note(std::string(what) + ": " + std::to_string(result) + " " + (found != nullptr ? "" : std::to_string(error)) +
           " " + description(found));
  };
  for (const char* name : {"localhost", "127.0.0.1", "::1", "no such name"})
    for (const int family : {AF_INET, AF_INET6}) {
      s.note(std::string(name) + ": " + description(s.calls.gethostbyname2(name, family)));
      ask(name, 2000, [&](auto... rest) { return s.calls.gethostbyname2_r(name, family, rest...); });
    }
  ask("in little room", 20, [&](auto... rest) { return s.calls.gethostbyname_r("localhost", rest...); });
  in_addr address{htonl(INADDR_LOOPBACK)};
  s.note(description(s.calls.gethostbyaddr(&address, sizeof address, AF_INET)));
  ask("by address", 2000,
      [&](auto... rest) { return s.calls.gethostbyaddr_r(&address, sizeof address, AF_INET, rest...); });
  ask("of no size", 2000, [&](auto... rest) { return s.calls.gethostbyaddr_r(&address, 3, AF_INET, rest...); });
  ask("of no family", 2000, [&](auto... rest) { return s.calls.gethostbyaddr_r(&address, 4, AF_UNIX, rest...); });
}

}  // namespace

const Scenarios& further_scenarios() {
  static const Scenarios all = {
      {"batches", batches},
      {"sendfile", sendfile},
      {"locks", locks},
      {"ends_of_children", ends_of_children},
      {"epoll_with_masks", epoll_with_masks},
      {"hosts", hosts},
  };
  return all;
}

}  // namespace tulp::test
