// Unix sockets: connecting to them, and the file that a bound one has.  Floor 6, net.
#pragma once
#include <sys/types.h>
#include <tulp/server.hpp>
#include <tulp/transport.hpp>

#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {

/// The file of a Unix socket that is ours to remove.
class SocketFile {
 public:
  SocketFile() = default;
  /// The file as it is now.
  explicit SocketFile(std::string path) noexcept;
  SocketFile(SocketFile&& other) noexcept { *this = std::move(other); }
  SocketFile& operator=(SocketFile&& other) noexcept;
  ~SocketFile() { remove(); }

  bool is_socket() const noexcept { return is_socket_; }
  /// Unless another one has taken its place.
  void remove() noexcept;
  void forget() noexcept { is_socket_ = false; }

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool is_socket_ = false;
};

/// Parks: until the connection stands, also while the server's queue is full.  Cancel: there is none.
/// Throws: OsError.
std::unique_ptr<ByteStream> connect_unix(const Address& address, const ConnectOptions& options);

struct BoundUnixSocket {
  UniqueFd socket;
  SocketFile file;  // none for an abstract name
};
/// In the place of a socket's file that nobody listens on.  Throws: OsError.
BoundUnixSocket bind_path(const Address& address);

}  // namespace tulp::detail
