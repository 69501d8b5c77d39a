#include "ssl/engine.hpp"

#include <openssl/err.h>
#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>

#include <new>
#include <utility>

#include "ssl/certificate.hpp"

namespace tulp::detail {

/// What OpenSSL takes for a connection: the engine's queues.
class SslEngine::Bio {
 public:
  static BioPtr make(SslEngine& engine) {
    static BIO_METHOD* const method = make_method();
    BioPtr bio(BIO_new(method));
    if (bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio.get(), &engine);
    BIO_set_init(bio.get(), 1);
    return bio;
  }

 private:
  static BIO_METHOD* make_method() {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tulp");
    if (method == nullptr) throw std::bad_alloc();
    BIO_meth_set_read_ex(method, read);
    BIO_meth_set_write_ex(method, write);
    BIO_meth_set_ctrl(method, control);
    return method;
  }
  static SslEngine& engine(BIO* bio) noexcept { return *static_cast<SslEngine*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, std::size_t size, std::size_t* got) noexcept {
    BIO_clear_retry_flags(bio);
    *got = engine(bio).take_input(into, size);
    if (*got == 0 && !engine(bio).has_input_ended_) BIO_set_retry_read(bio);
    return *got > 0 ? 1 : 0;
  }
  static int write(BIO* bio, const char* data, std::size_t size, std::size_t* written) noexcept {
    BIO_clear_retry_flags(bio);
    try {
      engine(bio).output_.append(data, size);
    } catch (const std::bad_alloc&) {
      return 0;
    }
    *written = size;
    return 1;
  }
  static long control(BIO* bio, int command, long, void*) noexcept {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return engine(bio).has_input_ended_ && engine(bio).input_.empty() ? 1 : 0;
    return 0;
  }
};

SslEngine::SslEngine(std::shared_ptr<SslContextState> context, SslTarget target)
    : context_(std::move(context)),
      first_config_(context_->config()),
      config_(first_config_),
      session_key_(std::move(target.session_key)),
      ssl_(SSL_new(config_->ctx.get())) {
  ERR_clear_error();
  if (ssl_ == nullptr) throw std::bad_alloc();
  BIO* bio = Bio::make(*this).release();
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  if (context_->is_server()) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
    set_target(target);
  }
  ERR_clear_error();
}

namespace {

/// SSL_set_tlsext_host_name() is a macro with casts of another age.
bool set_server_name(SSL& ssl, const std::string& name) noexcept {
  return SSL_ctrl(&ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name.c_str())) == 1;
}

}  // namespace

void SslEngine::set_target(const SslTarget& target) {
  if (target.host) {
    const std::string& name = target.host->name;
    host_name_ = name;
    const bool is_set = target.host->is_address
                            ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), name.c_str()) == 1
                            : set_server_name(*ssl_, name) &&
                                  (context_->accepts_any_host_name() || SSL_set1_host(ssl_.get(), name.c_str()) == 1);
    if (!is_set) throw std::bad_alloc();
    if (context_->accepts_any_host_name()) X509_VERIFY_PARAM_set1_ip(SSL_get0_param(ssl_.get()), nullptr, 0);
  }
  if (session_key_.empty()) return;
  if (const auto session = context_->sessions().take(session_key_)) SSL_set_session(ssl_.get(), session.get());
}

/// OpenSSL would forget the session of a connection that has ended without a word; nothing is wrong with it.
SslEngine::~SslEngine() {
  if (state_ != State::handshake && state_ != State::failed)
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

// Input.

void SslEngine::receive(std::string_view bytes) {
  constexpr std::size_t telling_bytes = 8;
  if (state_ == State::handshake && beginning_.size() < telling_bytes)
    beginning_.append(bytes.substr(0, telling_bytes - beginning_.size()));
  if (input_.empty()) {
    input_ = bytes;
    return;
  }
  keep_input();
  kept_input_.append(bytes);
  input_ = kept_input_;
}

void SslEngine::keep_input() {
  if (input_.empty()) {
    std::string().swap(kept_input_);
    return;
  }
  if (input_.data() + input_.size() == kept_input_.data() + kept_input_.size()) {
    kept_input_.erase(0, kept_input_.size() - input_.size());
  } else {
    kept_input_.assign(input_);
  }
  input_ = kept_input_;
}

std::size_t SslEngine::take_input(char* into, std::size_t size) noexcept {
  const std::size_t count = input_.copy(into, size);
  input_.remove_prefix(count);
  return count;
}

// The connection.

SslEngine::Status SslEngine::handshake() noexcept {
  if (state_ == State::failed) return Status::failed;
  if (state_ != State::handshake) return Status::done;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return fail(result);
  state_ = State::open;
  std::string().swap(beginning_);
  return Status::done;
}

SslEngine::Result SslEngine::read(std::span<char> into) noexcept {
  if (state_ == State::failed) return {Status::failed};
  if (state_ == State::peer_ended || state_ == State::ended) return {Status::end};
  std::size_t total = 0;
  while (total < into.size()) {
    std::size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &got);
    if (result == 1) {
      total += got;
      // Another call would only ask for input that is not there.
      if (input_.empty() && SSL_pending(ssl_.get()) == 0 && !has_input_ended_) break;
      continue;
    }
    const Status status = fail(result);  // after some data, the next call will say so
    if (total == 0) return {status};
    break;
  }
  return {Status::done, total};
}

bool SslEngine::look_ahead() noexcept {
  if (state_ != State::open && state_ != State::ending) return state_ != State::failed;
  ERR_clear_error();
  char byte = 0;
  std::size_t got = 0;
  const int result = SSL_peek_ex(ssl_.get(), &byte, 1, &got);
  return result == 1 || fail(result) != Status::failed;
}

SslEngine::Result SslEngine::write(std::string_view data) noexcept {
  if (state_ != State::open && state_ != State::peer_ended) return {Status::failed};
  ERR_clear_error();
  std::size_t written = 0;
  const int result = SSL_write_ex(ssl_.get(), data.data(), data.size(), &written);
  if (result == 1) return {Status::done, written};
  return {fail(result)};
}

void SslEngine::write_end() noexcept {
  if (state_ != State::open && state_ != State::peer_ended) return;
  ERR_clear_error();
  const int result = SSL_shutdown(ssl_.get());
  if (result < 0) {
    fail(result);
    return;
  }
  state_ = state_ == State::peer_ended ? State::ended : State::ending;
}

// Failure.

/// What a result other than success means.
SslEngine::Status SslEngine::fail(int result) noexcept {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return Status::wants_input;
    case SSL_ERROR_ZERO_RETURN: state_ = state_ == State::ending ? State::ended : State::peer_ended; return Status::end;
    default: break;
  }
  failure_.code = take_ssl_error();
  if (failure_.code == 0) failure_.code = ERR_PACK(ERR_LIB_SSL, 0, SSL_R_UNEXPECTED_EOF_WHILE_READING);
  explain();
  state_ = State::failed;
  return Status::failed;
}

bool SslEngine::is_truncated() const noexcept {
  return state_ == State::failed && reason_of(failure_.code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

void SslEngine::explain() noexcept {
  try {
    const int reason = reason_of(failure_.code);
    const bool is_in_handshake = !beginning_.empty();
    const char first = is_in_handshake ? beginning_.front() : '\0';
    constexpr char handshake_record = 0x16, alert_record = 0x15;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
      failure_.verify_result = SSL_get_verify_result(ssl_.get());
      failure_.explanation = certificate_;
    } else if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST || beginning_.starts_with("HTTP/")) {
      failure_.explanation = "the peer speaks plain HTTP";
    } else if (is_in_handshake && first != handshake_record && first != alert_record) {
      failure_.explanation = "the peer does not speak TLS";
    } else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
      failure_.explanation = "the data are truncated, for the peer did not say that it ends";
    } else if (reason >= SSL_AD_REASON_OFFSET) {
      failure_.explanation = "the peer refuses";
    }
  } catch (const std::bad_alloc&) {  // the code says enough
  }
}

/// While it is known which certificate it is about: the one that ends the chain of errors is forgotten with the handshake.
int SslEngine::on_verify(int is_ok, X509_STORE_CTX* store) noexcept {
  if (is_ok == 1) return 1;
  const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  try {
    of(ssl).explain_certificate(*store);
  } catch (const std::bad_alloc&) {  // the result says enough
  }
  return is_ok;
}

namespace {

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "nobody" : text;
}

}  // namespace

void SslEngine::explain_certificate(X509_STORE_CTX& store) {
  const int error = X509_STORE_CTX_get_error(&store);
  certificate_ = X509_verify_cert_error_string(error);
  const X509* concerned = X509_STORE_CTX_get_current_cert(&store);
  if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    std::vector<std::string> dns_names, ip_addresses;
    if (const X509* leaf = X509_STORE_CTX_get0_cert(&store)) list_subjects(*leaf, dns_names, ip_addresses);
    dns_names.insert(dns_names.end(), ip_addresses.begin(), ip_addresses.end());
    certificate_ += ": it is for " + join(dns_names) + ", not for " + host_name_;
  } else if (X509_STORE_CTX_get_error_depth(&store) > 0 && concerned != nullptr) {
    certificate_ += ": " + to_string(*X509_get_subject_name(concerned));
  }
}

// What a handshake asks for.

int SslEngine::on_session(SSL* ssl, SSL_SESSION* session) noexcept {
  SslEngine& engine = of(ssl);
  if (engine.session_key_.empty() || engine.config_ != engine.context_->config()) return 0;  // trust has changed
  try {
    SSL_SESSION_up_ref(session);
    engine.context_->sessions().add(engine.session_key_, SslSessionPtr(session));
  } catch (const std::bad_alloc&) {  // then it is not remembered
  }
  return 0;
}

int SslEngine::on_server_name(SSL* ssl, int* alert, void*) noexcept { return of(ssl).choose_context(alert); }

int SslEngine::choose_context(int* alert) {
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  std::optional<SslContext> chosen;
  try {
    const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
    const CallbackScope no_parking;
    chosen = context_->server_options()->sni_callback(name != nullptr ? name : "");
  } catch (...) {
    failure_.explanation = "sni_callback: " + describe(std::current_exception());
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  if (!chosen || chosen->state() == context_) return SSL_TLSEXT_ERR_OK;
  if (!chosen->is_server()) {
    *alert = SSL_AD_INTERNAL_ERROR;
    failure_.explanation = "sni_callback gave a client's context";
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  context_ = chosen->state();
  config_ = context_->config();
  SSL_CTX* ctx = config_->ctx.get();
  if (SSL_version(ssl_.get()) < SSL_CTX_get_min_proto_version(ctx)) {  // settled before the name is heard
    *alert = SSL_AD_PROTOCOL_VERSION;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  SSL_set_SSL_CTX(ssl_.get(), ctx);  // its certificate, its protocols; not whom it trusts
  SSL_set_verify(ssl_.get(), SSL_CTX_get_verify_mode(ctx), on_verify);
  X509_VERIFY_PARAM_set1(SSL_get0_param(ssl_.get()), SSL_CTX_get0_param(ctx));
  return SSL_TLSEXT_ERR_OK;
}

// What has been settled.

std::optional<Certificate> SslEngine::peer_certificate() const {
  const X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  return certificate != nullptr ? std::optional(to_certificate(*certificate)) : std::nullopt;
}

std::string SslEngine::cipher() const {
  const char* name = SSL_get_cipher_name(ssl_.get());
  return name != nullptr ? name : "";
}

std::string SslEngine::version() const { return SSL_get_version(ssl_.get()); }

std::string SslEngine::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

}  // namespace tulp::detail
