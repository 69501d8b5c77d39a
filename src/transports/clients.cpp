#include "transports/clients.hpp"

namespace tulp::detail {

void Clients::close() {
  for (const auto& client : all()) client->close();
}

void Clients::abort() {
  for (const auto& client : all()) client->abort();
}

void Clients::cancel(const std::string& reason) {
  for (const auto& client : all()) client->cancel(reason);
}

std::size_t Clients::cut_off_others() {
  std::size_t count = 0;
  for (const auto& client : all()) {
    if (client->is_mine()) continue;
    client->cut_off();
    ++count;
  }
  return count;
}

void Clients::wait_for_connections() {
  while (connection_count_ > 0) changed_.wait("the end of the clients' connections");
}

void Clients::wait_for_others() {
  std::size_t own_count = 0;
  clients_.for_each([&](const Client& client) { own_count += client.is_mine() ? 1 : 0; });
  while (count_ > own_count) changed_.wait("the end of the clients");
}

/// Copies, because ending one calls its protocol, which may do anything.
std::vector<std::shared_ptr<Client>> Clients::all() {
  std::vector<std::shared_ptr<Client>> all;
  clients_.for_each([&](Client& client) { all.push_back(client.shared_from_this()); });
  return all;
}

Client::Client(std::shared_ptr<Clients> clients) noexcept : clients_(std::move(clients)) {
  clients_->clients_.push_back(*this);
  ++clients_->count_;
}

Client::~Client() {
  unlink();
  --clients_->count_;
  clients_->changed_.wake_all();
}

void Client::on_connection_made(StreamTransport& transport) noexcept {
  transport_ = &transport;
  ++clients_->connection_count_;
}

void Client::on_handshake_started(const TaskHandle& handshake) {
  handshake_ = handshake;
  ++clients_->connection_count_;
}

void Client::on_handshake_ended() noexcept {
  handshake_ = {};
  --clients_->connection_count_;
  clients_->changed_.wake_all();
}

void Client::on_connection_lost() noexcept {
  transport_ = nullptr;
  --clients_->connection_count_;
  clients_->changed_.wake_all();
}

/// What the handler has written has had its last chance.
void Client::on_handler_ended() noexcept {
  handler_ = {};
  if (is_cut_off_) cut_off_transport();
}

bool Client::is_mine() const { return handler_ && handler_ == current_task(); }

void Client::close() {
  was_ended_ = true;
  if (handshake_) handshake_.cancel("the server ends the connection");
  if (transport_ != nullptr) transport_->close();
}

void Client::abort() {
  was_ended_ = true;
  if (handshake_) handshake_.cancel("the server ends the connection");
  if (transport_ != nullptr) transport_->abort();
}

void Client::cancel(const std::string& reason) {
  if (!handler_) return close();
  was_ended_ = true;
  handler_.cancel(reason);
}

void Client::cut_off() {
  is_cut_off_ = true;
  cancel("the server shuts down");
  if (!handler_) cut_off_transport();
}

void Client::cut_off_transport() {
  if (transport_ == nullptr) return;
  if (transport_->get_write_buffer_size() == 0)
    transport_->close_without_leave();
  else
    transport_->abort_with_report(transport_->loop());
}

}  // namespace tulp::detail
