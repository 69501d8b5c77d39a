#include "net/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include "net/retry_pause.hpp"
#include "net/socket.hpp"

namespace tulp::detail {
namespace {

bool is_abstract(const Address& address) { return address.host().front() == '\0'; }

/// Removes the file of a socket that nobody listens on; false if there is something else.
bool remove_stale(const Address& address) {
  SocketFile file(address.host());
  if (!file.is_socket()) return false;
  const UniqueFd probe = make_stream_socket(AF_UNIX);
  const bool is_stale = sys.connect(probe.get(), address.data(), address.size()) != 0 && errno == ECONNREFUSED;
  is_stale ? file.remove() : file.forget();
  return is_stale;
}

}  // namespace

SocketFile::SocketFile(std::string path) noexcept : path_(std::move(path)) {
  struct stat file {};
  if (sys.lstat(path_.c_str(), &file) != 0) return;
  device_ = file.st_dev;
  inode_ = file.st_ino;
  is_socket_ = S_ISSOCK(file.st_mode);
}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(is_socket_, other.is_socket_);
  return *this;
}

void SocketFile::remove() noexcept {
  if (!std::exchange(is_socket_, false)) return;
  struct stat file {};
  if (sys.lstat(path_.c_str(), &file) != 0 || file.st_dev != device_ || file.st_ino != inode_) return;
  sys.unlink(path_.c_str());
}

std::unique_ptr<ByteStream> connect_unix(const Address& address, const ConnectOptions& options) {
  UniqueFd socket = make_stream_socket(AF_UNIX);
  RetryPause pause;
  while (sys.connect(socket.get(), address.data(), address.size()) != 0) {
    // The server's queue is full: a blocking socket would wait here, but of room nobody is told.
    if (errno != EAGAIN && errno != EINTR) throw_os_error(errno, "connect " + address.to_string());
    pause.wait();
  }
  tune(socket.get(), options);
  return make_stream(require_task("connect").loop(), std::move(socket), address);
}

BoundUnixSocket bind_path(const Address& address) {
  UniqueFd socket = make_stream_socket(AF_UNIX);
  if (sys.bind(socket.get(), address.data(), address.size()) != 0) {
    const int error = errno;
    if (error != EADDRINUSE || is_abstract(address) || !remove_stale(address))
      throw_os_error(error, "bind " + address.to_string());
    bind_socket(socket.get(), address);
  }
  return {std::move(socket), is_abstract(address) ? SocketFile() : SocketFile(address.host())};
}

}  // namespace tulp::detail
