// Upgrade: a connection that goes on with TLS.  Floor 6, ssl.
#pragma once
#include <memory>
#include <string_view>

#include "ssl/handshake.hpp"
#include "transports/stream_transport.hpp"

namespace tulp::detail {

/// From its beginning on nothing is read or written in plain.  A transport that has not come to the end of it is aborted.
class Upgrade {
 public:
  /// Throws: InvalidStateError - as StreamTransport::begin_upgrade().
  explicit Upgrade(std::shared_ptr<StreamTransport> transport);
  Upgrade(Upgrade&&) = default;
  ~Upgrade();

  /// `unread` is what the peer has sent after it was told to begin.
  /// Parks: until the handshake has been done.  Throws: as shake_hands(); OsError with ECANCELED - the transport was closed
  /// meanwhile.
  void run(const SslSettings& settings, std::string_view unread);

 private:
  void flush(TaskControl& me);
  void check() const;

  std::shared_ptr<StreamTransport> transport_;
};

}  // namespace tulp::detail
