// Faults: the n-th call of an entry of the table of system calls ends badly, in each way that its man page knows.
#pragma once
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/bad_kernel.hpp"

namespace tulp::test {

/// In place of an error: a success that does as little as a kernel may.
inline constexpr int cut_short = -1'000'000;

/// What may become of one entry of the table.
struct FaultyCall {
  std::string_view name;
  std::vector<int> invisible;  // nobody may notice
  std::vector<int> errors;     // somebody has to be told, unless it made no difference
  std::vector<int> vague;      // the same; the error told may be another one
};

/// While it lives, the table counts its calls, and calls number `first` to `first + times - 1` of one entry end with
/// `error`.
///
/// A kernel does not invent things, nor does this: what is put off or cut short is followed by a new edge; a close that
/// fails has closed; an interrupted connect goes on; a shutdown fails, or a write with EPIPE, because the connection was
/// reset; only a descriptor that was named as a pipe fails to be read or written, as what wakes the loop does not.
class Faults {
 public:
  Faults() { arm("", 0, 0, 0); }

  static const std::vector<FaultyCall>& catalogue() {
    static const std::vector<FaultyCall> all = {
        {"accept4",
         {EINTR, EAGAIN, ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH},
         {EMFILE, ENFILE, ENOBUFS, ENOMEM},
         {}},
        {"bind", {}, {EADDRINUSE, EACCES, ENOMEM}, {}},
        {"close", {EINTR}, {}, {}},
        {"connect", {EINTR}, {ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, ETIMEDOUT, EACCES}, {}},
        {"epoll_create1", {}, {EMFILE, ENFILE, ENOMEM}, {}},
        {"epoll_ctl", {}, {ENOMEM, ENOSPC}, {}},
        {"epoll_pwait2", {EINTR, ENOSYS}, {}, {}},
        {"epoll_wait", {EINTR}, {}, {}},
        {"eventfd", {}, {EMFILE, ENFILE, ENOMEM}, {}},
        {"fstat", {}, {}, {ENOMEM}},
        {"getaddrinfo", {}, {EAI_AGAIN, EAI_FAIL, EAI_MEMORY}, {}},
        {"getsockname", {}, {}, {ENOBUFS}},
        {"getsockopt", {}, {}, {ENOBUFS}},
        {"listen", {}, {EADDRINUSE}, {}},
        {"madvise", {}, {EAGAIN, ENOMEM}, {}},
        {"mmap", {}, {ENOMEM}, {}},
        {"mprotect", {}, {ENOMEM}, {}},
        {"munmap", {ENOMEM}, {}, {}},
        {"pipe2", {}, {EMFILE, ENFILE}, {}},
        {"poll", {EINTR}, {}, {}},
        {"pthread_create", {}, {EAGAIN}, {}},
        {"read", {EINTR, EAGAIN, cut_short}, {EIO, ENOMEM}, {}},
        {"recv", {EINTR, EAGAIN, cut_short}, {ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM}, {}},
        {"recvmmsg", {EINTR, EAGAIN, ENOSYS, cut_short}, {ECONNREFUSED, ENOMEM}, {}},
        {"recvmsg", {EINTR, EAGAIN}, {ECONNREFUSED, ENOMEM}, {}},
        {"select", {EINTR}, {}, {}},
        {"send", {EINTR, EAGAIN, cut_short}, {ECONNRESET, ETIMEDOUT, ENOBUFS, ENOMEM}, {EPIPE}},
        {"sendmmsg", {EINTR, EAGAIN, ENOBUFS, ENOSYS, cut_short}, {ECONNREFUSED, EPERM, ENOMEM}, {}},
        {"sendmsg", {EINTR, EAGAIN, cut_short}, {ECONNRESET, ENOMEM}, {EPIPE}},
        {"sendto", {EINTR, EAGAIN, ENOBUFS}, {ECONNREFUSED, EPERM, ENOMEM}, {}},
        {"setsockopt", {}, {ENOMEM}, {}},
        {"shutdown", {}, {}, {ENOTCONN}},
        {"socket", {}, {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES}, {}},
        {"unlink", {}, {}, {EACCES}},
        {"writev", {EINTR, EAGAIN, cut_short}, {EPIPE, ENOMEM}, {}},
    };
    return all;
  }

  static void arm(std::string_view call, int error, int first, int times) {
    plan = {call, error, first, times};
    for (auto& count : counts) count = 0;
    committed = 0;
    pipes.clear();
  }
  /// How often the entry was called since arm().
  static int count(std::string_view call) { return counts[index_of(call)]; }
  static inline std::atomic<int> committed = 0;
  /// The ends of pipes, which may be given to tulp.
  static inline std::set<int> pipes;

 private:
  struct Plan {
    std::string_view call;
    int error;
    int first;
    int times;
  };
  static inline Plan plan;
  static inline std::array<std::atomic<int>, 40> counts;
  static inline const SystemCalls& below = BadKernel::original;

  static std::size_t index_of(std::string_view call) {
    const auto& all = catalogue();
    return static_cast<std::size_t>(
        std::find_if(all.begin(), all.end(), [&](const FaultyCall& one) { return one.name == call; }) - all.begin());
  }

  template <auto entry>
  using Constant = std::integral_constant<decltype(entry), entry>;
  template <auto entry, auto... others>
  static constexpr bool is_one_of = (std::is_same_v<Constant<entry>, Constant<others>> || ...);

  template <class Entry>
  struct Faulty;
  template <class R, class... A, R (*SystemCalls::*entry)(A...)>
  struct Faulty<std::integral_constant<R (*SystemCalls::*)(A...), entry>> {
    static inline std::size_t index;

    static R call(A... args) {
      if (!is_struck(args...)) return forward(args...);
      [[maybe_unused]] const int fd = first(args...);
      if constexpr (std::is_integral_v<R>) {
        if (plan.error == cut_short) {
          const R result = static_cast<R>(less(Constant<entry>(), args...));
          BadKernel::make_edge(fd);
          return result;
        }
      }
      if constexpr (is_one_of<entry, &SystemCalls::getaddrinfo, &SystemCalls::pthread_create>) return plan.error;
      if constexpr (is_one_of<entry, &SystemCalls::close>) forward(args...);
      if constexpr (is_one_of<entry, &SystemCalls::shutdown>) reset(fd);
      if constexpr (is_one_of<entry, &SystemCalls::send, &SystemCalls::sendmsg>)
        if (plan.error == EPIPE) reset(fd);
      if constexpr (is_one_of<entry, &SystemCalls::connect>)
        if (plan.error == EINTR && option_of(fd, SO_DOMAIN) != AF_UNIX) forward(args...);
      if (plan.error == EAGAIN) BadKernel::make_edge(fd);
      errno = plan.error;
      if constexpr (std::is_pointer_v<R>)
        return static_cast<R>(MAP_FAILED);
      else
        return R{-1};
    }
    static R forward(A... args) {
      if constexpr (is_one_of<entry, &SystemCalls::epoll_ctl>)
        return kernel_epoll_ctl(args...);
      else
        return (below.*entry)(args...);
    }
    static bool is_struck(A... args) {
      if (!concerns(Constant<entry>(), args...)) return false;
      const int number = counts[index]++;
      if (plan.call != catalogue()[index].name || number < plan.first || number - plan.first >= plan.times)
        return false;
      return ++committed, true;
    }
  };
  static inline int (*kernel_epoll_ctl)(int, int, int, epoll_event*);  // BadKernel's

  template <class First, class... Rest>
  static int first(First value, Rest...) {
    if constexpr (std::is_same_v<First, int>)
      return value;
    else
      return -1;
  }

  template <class Entry, class... A>
  static bool concerns(Entry, A...) {
    return true;
  }
  static bool concerns(Constant<&SystemCalls::epoll_ctl>, int, int operation, int, epoll_event*) {
    return operation == EPOLL_CTL_ADD;
  }
  /// Nobody can reset a Unix socket.
  static bool concerns(Constant<&SystemCalls::shutdown>, int fd, int) { return option_of(fd, SO_DOMAIN) != AF_UNIX; }
  static bool concerns(Constant<&SystemCalls::read>, int fd, void*, std::size_t) { return pipes.count(fd) != 0; }
  static bool concerns(Constant<&SystemCalls::writev>, int fd, const iovec*, int) { return pipes.count(fd) != 0; }
  /// Of a datagram socket it does not wait for anything.
  static bool concerns(Constant<&SystemCalls::connect>, int fd, const sockaddr*, socklen_t) {
    return plan.error != EINTR || option_of(fd, SO_TYPE) == SOCK_STREAM;
  }
  static bool concerns(Constant<&SystemCalls::send>, int fd, const void*, std::size_t, int) {
    return plan.error != EPIPE || option_of(fd, SO_DOMAIN) != AF_UNIX;
  }
  /// Which also serves datagrams.
  static bool concerns(Constant<&SystemCalls::sendmsg>, int fd, const msghdr*, int) {
    if (plan.error == EPIPE && option_of(fd, SO_DOMAIN) == AF_UNIX) return false;
    const bool is_of_streams = plan.error == cut_short || plan.error == EPIPE;
    return !is_of_streams || option_of(fd, SO_TYPE) == SOCK_STREAM;
  }

  static int option_of(int fd, int option) {
    int value = 0;
    socklen_t size = sizeof value;
    ::getsockopt(fd, SOL_SOCKET, option, &value, &size);
    return value;
  }
  /// As if the peer had done so.
  static void reset(int fd) {
    const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
    ::connect(fd, &nobody, sizeof nobody);
  }

  template <class Entry, class... A>
  static int less(Entry, A...) {
    TULP_ASSERT(!"a call that can be cut short");
    return -1;
  }
  static ssize_t less(Constant<&SystemCalls::read>, int fd, void* into, std::size_t size) {
    return below.read(fd, into, std::min<std::size_t>(size, 1));
  }
  static ssize_t less(Constant<&SystemCalls::recv>, int fd, void* into, std::size_t size, int flags) {
    return below.recv(fd, into, std::min<std::size_t>(size, 1), flags);
  }
  static ssize_t less(Constant<&SystemCalls::send>, int fd, const void* data, std::size_t size, int flags) {
    return below.send(fd, data, std::min<std::size_t>(size, 1), flags);
  }
  static ssize_t less(Constant<&SystemCalls::sendmsg>, int fd, const msghdr* message, int flags) {
    return below.send(fd, message->msg_iov[0].iov_base, std::min<std::size_t>(message->msg_iov[0].iov_len, 1), flags);
  }
  static ssize_t less(Constant<&SystemCalls::writev>, int fd, const iovec* views, int) {
    return below.write(fd, views[0].iov_base, std::min<std::size_t>(views[0].iov_len, 1));
  }
  static int less(Constant<&SystemCalls::sendmmsg>, int fd, mmsghdr* messages, unsigned count, int flags) {
    return below.sendmmsg(fd, messages, std::min(count, 1U), flags);
  }
  static int less(Constant<&SystemCalls::recvmmsg>, int fd, mmsghdr* messages, unsigned count, int flags,
                  timespec* timeout) {
    return below.recvmmsg(fd, messages, std::min(count, 1U), flags, timeout);
  }

  template <auto entry>
  struct Install {
    explicit Install(std::string_view name) {
      Faulty<Constant<entry>>::index = index_of(name);
      if (sys.*entry != nullptr) sys.*entry = Faulty<Constant<entry>>::call;
    }
  };
  struct Table {
    Table() {
      kernel_epoll_ctl = sys.epoll_ctl;
#define TULP_FAULTY(name) Install<&SystemCalls::name>{#name}
      TULP_FAULTY(accept4), TULP_FAULTY(bind), TULP_FAULTY(close), TULP_FAULTY(connect), TULP_FAULTY(epoll_create1),
          TULP_FAULTY(epoll_ctl), TULP_FAULTY(epoll_pwait2), TULP_FAULTY(epoll_wait), TULP_FAULTY(eventfd),
          TULP_FAULTY(fstat), TULP_FAULTY(getaddrinfo), TULP_FAULTY(getsockname), TULP_FAULTY(getsockopt),
          TULP_FAULTY(listen), TULP_FAULTY(madvise), TULP_FAULTY(mmap), TULP_FAULTY(mprotect), TULP_FAULTY(munmap),
          TULP_FAULTY(pipe2), TULP_FAULTY(poll), TULP_FAULTY(pthread_create), TULP_FAULTY(read), TULP_FAULTY(recv),
          TULP_FAULTY(recvmmsg), TULP_FAULTY(recvmsg), TULP_FAULTY(select), TULP_FAULTY(send), TULP_FAULTY(sendmmsg),
          TULP_FAULTY(sendmsg), TULP_FAULTY(sendto), TULP_FAULTY(setsockopt), TULP_FAULTY(shutdown),
          TULP_FAULTY(socket), TULP_FAULTY(unlink), TULP_FAULTY(writev);
#undef TULP_FAULTY
    }
  };

  BadKernel kernel_;
  Table table_;
};

}  // namespace tulp::test
