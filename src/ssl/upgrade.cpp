#include "ssl/upgrade.hpp"

#include <openssl/sslerr.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include "ssl/error.hpp"
#include "transports/feed_park.hpp"

namespace tulp {
namespace detail {

Upgrade::Upgrade(std::shared_ptr<StreamTransport> transport) : transport_(std::move(transport)) {
  transport_->begin_upgrade();
}

Upgrade::~Upgrade() {
  if (transport_ == nullptr) return;
  transport_->end_upgrade();
  transport_->abort();
}

void Upgrade::run(const SslSettings& settings, std::string_view unread) {
  TaskControl& me = require_task("start_tls");
  try {
    flush(me);
    if (!unread.empty() && !settings.context.is_server())
      throw SslError(ERR_PACK(ERR_LIB_SSL, 0, SSL_R_UNEXPECTED_MESSAGE),
                     "start_tls with " + transport_->peer() + ": " + std::to_string(unread.size()) +
                         " bytes came in plain after the last that was read");
    SslStream* stream = nullptr;
    transport_->replace_stream([&](std::unique_ptr<ByteStream>&& bytes) {
      auto made = make_ssl_stream(me.loop(), std::move(bytes), settings);
      stream = made.get();
      return made;
    });
    if (!unread.empty()) stream->put_back(unread);
    shake_hands(*stream, settings.handshake_timeout, [this, &me] {
      check();
      transport_->arm_upgrader(&me);
    });
  } catch (const CancelledError&) {
    throw;  // and this object's end aborts the connection
  } catch (...) {
    transport_->arm_upgrader(nullptr);  // this task runs: nobody may queue it
    transport_->fail(std::current_exception());
    throw;
  }
  std::exchange(transport_, nullptr)->end_upgrade();
}

/// Parks: until what was written in plain has been sent.
void Upgrade::flush(TaskControl& me) {
  while (!transport_->flush()) {
    check();
    throw_if_cancelled();
    StreamTransport::Feeder feeder{me, {}};
    FeedPark wait(*transport_, feeder);
    park(wait);
  }
  check();
}

void Upgrade::check() const {
  transport_->check_error("start_tls");
  if (transport_->is_closing())
    throw_os_error(ECANCELED, "start_tls with " + transport_->peer() + ": the connection was closed on this side");
}

}  // namespace detail

Future<std::shared_ptr<Transport>> EventLoop::start_tls(std::shared_ptr<Transport> transport,
                                                        std::shared_ptr<BaseProtocol> protocol,
                                                        const SslContext& context) {
  return start_tls(std::move(transport), std::move(protocol), context, {});
}

Future<std::shared_ptr<Transport>> EventLoop::start_tls(std::shared_ptr<Transport> transport,
                                                        std::shared_ptr<BaseProtocol> protocol,
                                                        const SslContext& context, const StartTlsOptions& options) {
  auto own = std::dynamic_pointer_cast<detail::StreamTransport>(transport);
  if (own == nullptr) throw std::invalid_argument("start_tls: the transport cannot do that");
  if (protocol == nullptr) throw std::invalid_argument("start_tls: no protocol");
  auto work = [transport, protocol = std::move(protocol), settings = detail::upgrade_settings(context, options),
               upgrade = detail::Upgrade(own)]() mutable {
    upgrade.run(settings, {});
    if (transport->get_protocol() != protocol) transport->set_protocol(std::move(protocol));
    return std::move(transport);
  };
  return detail::start_task(*this, {.name = "start_tls"}, TULP_CALLER, std::move(work));
}

}  // namespace tulp
