#include "testing/system_calls.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/sys.hpp"
#include "testing/test_selector.hpp"

namespace tulp::testing {
namespace {

const SystemCalls original = sys;

/// Whether the call is to fail; errno says how.
bool is_refused(int fd) {
  TestSelector* selector = running_test_selector();
  if (selector == nullptr || !selector->refuses(fd)) return false;
  errno = EAGAIN;
  return true;
}

std::size_t part_of(int fd, std::size_t size) {
  TestSelector* selector = running_test_selector();
  return selector != nullptr ? selector->part_of(fd, size) : size;
}

unsigned some_of(int fd, unsigned count) {
  TestSelector* selector = running_test_selector();
  return selector != nullptr ? selector->some_of(fd, count) : count;
}

/// As many of the bytes of `views` as a call is to move.
std::vector<iovec> part_of(int fd, const iovec* views, std::size_t count) {
  std::vector<iovec> part(views, views + count);
  std::size_t size = 0;
  for (const iovec& view : part) size += view.iov_len;
  std::size_t left = part_of(fd, size);
  for (iovec& view : part) {
    view.iov_len = std::min(view.iov_len, left);
    left -= view.iov_len;
  }
  return part;
}

ssize_t read(int fd, void* into, size_t size) {
  return is_refused(fd) ? -1 : original.read(fd, into, part_of(fd, size));
}

ssize_t write(int fd, const void* data, size_t size) {
  return is_refused(fd) ? -1 : original.write(fd, data, part_of(fd, size));
}

ssize_t readv(int fd, const iovec* views, int count) {
  if (is_refused(fd)) return -1;
  return original.readv(fd, part_of(fd, views, static_cast<std::size_t>(count)).data(), count);
}

ssize_t writev(int fd, const iovec* views, int count) {
  if (is_refused(fd)) return -1;
  return original.writev(fd, part_of(fd, views, static_cast<std::size_t>(count)).data(), count);
}

ssize_t recv(int fd, void* into, size_t size, int flags) {
  return is_refused(fd) ? -1 : original.recv(fd, into, part_of(fd, size), flags);
}

ssize_t send(int fd, const void* data, size_t size, int flags) {
  return is_refused(fd) ? -1 : original.send(fd, data, part_of(fd, size), flags);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (is_refused(fd)) return -1;
  std::vector<iovec> views = part_of(fd, message->msg_iov, message->msg_iovlen);
  msghdr part = *message;
  part.msg_iov = views.data();
  return original.sendmsg(fd, &part, flags);
}

ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size) {
  return is_refused(fd) ? -1 : original.sendto(fd, data, part_of(fd, size), flags, to, to_size);
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return is_refused(fd) ? -1 : original.recvmsg(fd, message, flags);
}

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  return is_refused(fd) ? -1 : original.sendmmsg(fd, messages, some_of(fd, count), flags);
}

int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  return is_refused(fd) ? -1 : original.recvmmsg(fd, messages, some_of(fd, count), flags, timeout);
}

int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  return is_refused(fd) ? -1 : original.accept4(fd, address, size, flags);
}

int shutdown(int fd, int how) {
  if (TestSelector* selector = running_test_selector()) selector->note_io();
  return original.shutdown(fd, how);
}

/// Leaves alone what a test has put in.
template <class Function>
void put_in(Function* SystemCalls::*entry, Function* function) noexcept {
  if (sys.*entry == original.*entry) sys.*entry = function;
}

[[maybe_unused]] const bool is_in_place = (disturb_system_calls(), true);

}  // namespace

void disturb_system_calls() noexcept {
  put_in(&SystemCalls::read, read);
  put_in(&SystemCalls::write, write);
  put_in(&SystemCalls::readv, readv);
  put_in(&SystemCalls::writev, writev);
  put_in(&SystemCalls::recv, recv);
  put_in(&SystemCalls::send, send);
  put_in(&SystemCalls::sendmsg, sendmsg);
  put_in(&SystemCalls::sendto, sendto);
  put_in(&SystemCalls::recvmsg, recvmsg);
  put_in(&SystemCalls::sendmmsg, sendmmsg);
  put_in(&SystemCalls::recvmmsg, recvmmsg);
  put_in(&SystemCalls::accept4, accept4);
  put_in(&SystemCalls::shutdown, shutdown);
}

}  // namespace tulp::testing
