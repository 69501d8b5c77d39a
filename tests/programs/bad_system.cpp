// bad_system: loaded into a program by LD_PRELOAD, it stands before libc and makes system calls interrupt, hesitate, do
// less than they were asked to, and fail, and yet only as a kernel may.
//
// TULP_BAD_SYSTEM=interrupt|hesitate|shorten:SEED   two of three calls, as chance has it
// TULP_BAD_SYSTEM=CALL:ERRNO:N                      call number N, from 0 on, of CALL
// TULP_BAD_SYSTEM_COUNT=FILE                        how many there were, written when the program ends
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// What is told from the environment.
struct Plan {
  int error = 0;
  bool shortens = false;
  std::uint32_t random = 0;  // for the kinds that strike by chance
  char call[32] = "";        // for the one that strikes once
  long number = -1;
  long struck = 0;

  Plan() {
    const char* text = std::getenv("TULP_BAD_SYSTEM");
    char kind[32];
    unsigned long seed = 0;
    if (text == nullptr) return;
    if (std::sscanf(text, "%31[a-z0-9_]:%d:%ld", call, &error, &number) == 3) return;
    if (std::sscanf(text, "%31[a-z]:%lu", kind, &seed) != 2) return;
    call[0] = '\0';
    random = static_cast<std::uint32_t>(seed) * 2 + 1;
    error = std::strcmp(kind, "interrupt") == 0 ? EINTR : EAGAIN;
    shortens = std::strcmp(kind, "shorten") == 0;
  }
  ~Plan() {
    const char* path = std::getenv("TULP_BAD_SYSTEM_COUNT");
    if (path == nullptr) return;
    if (std::FILE* file = std::fopen(path, "w")) {
      std::fprintf(file, "%ld\n", struck);
      std::fclose(file);
    }
  }
  std::uint32_t next_random() {
    random = random * 1664525 + 1013904223;
    return random >> 16;
  }
};
Plan plan;

/// What an epoll watches a descriptor for: where edges come from.
struct Watched {
  int epoll = -1;
  epoll_event event = {};
};
Watched watched[65536];

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
#define NEXT(name) static auto* const original = next<decltype(::name)>(#name)

/// Whatever the descriptor is ready for, it reports again.
void make_edge(int fd) {
  static auto* const control = next<decltype(::epoll_ctl)>("epoll_ctl");
  Watched& one = watched[static_cast<std::uint16_t>(fd)];
  if (one.epoll >= 0 && (one.event.events & EPOLLET) != 0) control(one.epoll, EPOLL_CTL_MOD, fd, &one.event);
}

/// Call number `plan.number` of `call` is struck, and no other.
bool is_the_one(const char* call) {
  if (std::strcmp(plan.call, call) != 0 || plan.number-- != 0) return false;
  ++plan.struck;
  errno = plan.error;
  return true;
}
/// For calls that may be interrupted or hesitate.
bool fails(const char* call, int fd, bool may_hesitate = true) {
  if (is_the_one(call)) return true;
  const bool is_possible = plan.random != 0 && !plan.shortens && (plan.error == EINTR || may_hesitate);
  if (!is_possible || plan.next_random() % 3 == 0) return false;
  ++plan.struck;
  if (plan.error == EAGAIN) make_edge(fd);
  errno = plan.error;
  return true;
}
/// How much of `size` is to be done.
std::size_t shortened(std::size_t size) {
  if (!plan.shortens || size < 2 || plan.next_random() % 3 == 0) return size;
  ++plan.struck;
  return 1 + plan.next_random() % std::min<std::size_t>(size - 1, plan.next_random() % 8 == 0 ? 10 : 20'000);
}
template <class Result>
Result done(Result result, int fd) {
  const int error = errno;
  if (plan.shortens) make_edge(fd);
  errno = error;
  return result;
}
bool is_stream(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

extern "C" {

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  NEXT(epoll_ctl);
  if (operation == EPOLL_CTL_ADD && is_the_one("epoll_ctl")) return -1;
  watched[static_cast<std::uint16_t>(fd)] = operation == EPOLL_CTL_DEL ? Watched{} : Watched{epoll, *event};
  return original(epoll, operation, fd, event);
}
int epoll_create1(int flags) noexcept {
  NEXT(epoll_create1);
  return is_the_one("epoll_create1") ? -1 : original(flags);
}
int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout) {
  NEXT(epoll_wait);
  return fails("epoll_wait", -1, false) ? -1 : original(epoll, events, capacity, timeout);
}
int socket(int domain, int type, int protocol) noexcept {
  NEXT(socket);
  return is_the_one("socket") ? -1 : original(domain, type, protocol);
}
int connect(int fd, const sockaddr* address, socklen_t size) {
  NEXT(connect);
  return is_the_one("connect") ? -1 : original(fd, address, size);
}
int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  NEXT(accept4);
  return fails("accept4", fd) ? -1 : original(fd, address, size, flags);
}
ssize_t recv(int fd, void* into, size_t size, int flags) {
  NEXT(recv);
  if (fails("recv", fd)) return -1;
  return done(original(fd, into, shortened(size), flags), fd);
}
ssize_t send(int fd, const void* data, size_t size, int flags) {
  NEXT(send);
  if (fails("send", fd)) return -1;
  return done(original(fd, data, shortened(size), flags), fd);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  NEXT(sendmsg);
  if (fails("sendmsg", fd)) return -1;
  if (!plan.shortens || !is_stream(fd)) return original(fd, message, flags);
  const iovec& first = message->msg_iov[0];
  return done(::send(fd, first.iov_base, first.iov_len, flags), fd);
}
ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
  NEXT(sendto);
  return fails("sendto", fd) ? -1 : original(fd, data, size, flags, to, length);
}
int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  NEXT(sendmmsg);
  if (fails("sendmmsg", fd)) return -1;
  return done(original(fd, messages, static_cast<unsigned>(shortened(count)), flags), fd);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) {
  NEXT(recvmsg);
  return fails("recvmsg", fd) ? -1 : original(fd, message, flags);
}
int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  NEXT(recvmmsg);
  if (fails("recvmmsg", fd)) return -1;
  return done(original(fd, messages, static_cast<unsigned>(shortened(count)), flags, timeout), fd);
}
ssize_t read(int fd, void* into, size_t size) {
  NEXT(read);
  if (fails("read", fd, watched[static_cast<std::uint16_t>(fd)].epoll >= 0)) return -1;
  const bool is_watched = watched[static_cast<std::uint16_t>(fd)].epoll >= 0;  // a pipe, or what wakes the loop
  return size <= 8 || !is_watched ? original(fd, into, size) : done(original(fd, into, shortened(size)), fd);
}
ssize_t writev(int fd, const iovec* views, int count) {
  NEXT(writev);
  if (fails("writev", fd)) return -1;
  if (!plan.shortens) return original(fd, views, count);
  const iovec one{views[0].iov_base, shortened(views[0].iov_len)};
  return done(original(fd, &one, 1), fd);
}
}
