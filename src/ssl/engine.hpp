// SslEngine: one end of a TLS connection between byte queues: no socket, no loop.  Floor 6, ssl.
//
// What the peer has sent is given to receive(), what shall be sent to it is in output().  No call of it parks, so that
// OpenSSL's queue of errors, which all fibers of a thread share, is empty before and after each.
#pragma once
#include <tulp/certificate.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ssl/context.hpp"
#include "ssl/error.hpp"
#include "ssl/host_name.hpp"
#include "ssl/openssl.hpp"

namespace tulp::detail {

/// Whom a client speaks to.
struct SslTarget {
  std::optional<SslHostName> host = std::nullopt;  // whose certificate it must have; nobody's in particular
  std::string session_key = {};                    // who gets what it remembers; empty: nothing is remembered
};

class SslEngine {
 public:
  enum class State : std::uint8_t {
    handshake,
    open,
    ending,      // we have said that we end
    peer_ended,  // the peer has
    ended,       // both have
    failed,      // nothing can follow but what output() has: an alert that tells the peer why
  };
  enum class Status : std::uint8_t { done, wants_input, end, failed };
  struct Result {
    Status status;
    std::size_t bytes = 0;  // with done
  };

  /// A client's end, or, with a server's context, a server's.
  explicit SslEngine(std::shared_ptr<SslContextState> context, SslTarget target = {});
  SslEngine(const SslEngine&) = delete;
  SslEngine& operator=(const SslEngine&) = delete;
  ~SslEngine();

  State state() const noexcept { return state_; }

  /// `bytes` stay where they are until keep_input() or the end of input.
  void receive(std::string_view bytes);
  /// The peer sends nothing after that, not even TLS's own word for the end.
  void receive_end() noexcept { has_input_ended_ = true; }
  /// Copies what is left of received bytes.
  void keep_input();
  bool has_input() const noexcept { return !input_.empty(); }
  bool has_input_ended() const noexcept { return has_input_ended_; }
  /// To be sent.  Whoever has sent some of it takes that away.
  std::string& output() noexcept { return output_; }
  const std::string& output() const noexcept { return output_; }

  /// Until it is done, nothing can be read or written.
  Status handshake() noexcept;
  /// As much as there is and fits.  `end` when the peer has said that it ends.
  Result read(std::span<char> into) noexcept;
  /// Takes in what has been received, without reading it; false if that has failed.
  bool look_ahead() noexcept;
  /// All of it.
  Result write(std::string_view data) noexcept;
  /// Says that nothing more will be written; reading goes on.
  void write_end() noexcept;

  /// After failed.
  const SslFailure& failure() const noexcept { return failure_; }
  /// Whether that is a connection cut off where its peer had not said so.
  bool is_truncated() const noexcept;

  // What the handshake has settled.

  std::optional<Certificate> peer_certificate() const;
  std::string cipher() const;
  std::string version() const;
  /// Empty if none was settled.
  std::string alpn() const;
  bool is_session_reused() const noexcept { return SSL_session_reused(ssl_.get()) == 1; }
  /// The one whose certificate is used: SNI may have chosen it.
  const std::shared_ptr<SslContextState>& context() const noexcept { return context_; }

  /// For tests that need what the engine has no words for.
  SSL& ssl() noexcept { return *ssl_; }

  // For SSL_CTX.

  static int on_verify(int is_ok, X509_STORE_CTX* store) noexcept;
  static int on_session(SSL* ssl, SSL_SESSION* session) noexcept;
  static int on_server_name(SSL* ssl, int* alert, void*) noexcept;

 private:
  class Bio;
  static SslEngine& of(const SSL* ssl) noexcept { return *static_cast<SslEngine*>(SSL_get_app_data(ssl)); }

  void set_target(const SslTarget& target);
  int choose_context(int* alert);
  Status fail(int result) noexcept;
  void explain() noexcept;
  void explain_certificate(X509_STORE_CTX& store);
  std::size_t take_input(char* into, std::size_t size) noexcept;

  std::shared_ptr<SslContextState> context_;
  std::shared_ptr<const SslConfig> first_config_;
  std::shared_ptr<const SslConfig> config_;
  std::string session_key_;
  std::string host_name_;  // for messages
  State state_ = State::handshake;
  bool has_input_ended_ = false;
  std::string_view input_;
  std::string kept_input_;
  std::string output_;
  std::string beginning_;    // of what the peer sent, in the handshake
  std::string certificate_;  // what is wrong with it
  SslFailure failure_;
  SslPtr ssl_;
};

}  // namespace tulp::detail
