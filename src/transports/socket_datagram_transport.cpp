#include "transports/socket_datagram_transport.hpp"

#include <stdexcept>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/task.hpp>

namespace tulp::detail {
namespace {

/// So many errors, one after another and with no pause, are no peers' refusals: the socket itself is broken.
constexpr unsigned most_receive_errors = 16;
/// After so many datagrams others may run.
constexpr std::size_t most_per_turn = DatagramBatch::slot_count;

}  // namespace

// Beginning.

SocketDatagramTransport::SocketDatagramTransport(EventLoop& loop, OpenedDatagramSocket socket,
                                                 std::shared_ptr<DatagramProtocol> protocol)
    : channel_(loop, std::move(socket)), protocol_(std::move(protocol)) {}

std::shared_ptr<SocketDatagramTransport> SocketDatagramTransport::open(EventLoop& loop, OpenedDatagramSocket socket,
                                                                       std::shared_ptr<DatagramProtocol> protocol) {
  if (protocol == nullptr) throw std::invalid_argument("the protocol factory returned null");
  auto transport = std::make_shared<SocketDatagramTransport>(loop, std::move(socket), std::move(protocol));
  loop.service<OpenTransports>().add(*transport);
  transport->self_ = transport;
  loop.post(transport->made_);
  return transport;
}

DatagramOpener datagram_opener(const DatagramOptions& options) {
  return [taken = take_datagram_socket(options), options](DatagramProtocolFactory factory) mutable {
    EventLoop& loop = require_task("create_datagram_endpoint").loop();
    auto socket = open_datagram(std::move(taken), options);
    auto transport = SocketDatagramTransport::open(loop, std::move(socket), factory());
    const CancelShield until_connection_made_has_run;
    yield_now();
    return transport;
  };
}

void SocketDatagramTransport::set_protocol(std::shared_ptr<BaseProtocol> protocol) {
  auto typed = std::dynamic_pointer_cast<DatagramProtocol>(std::move(protocol));
  if (typed == nullptr) throw std::invalid_argument("set_protocol: it must be a DatagramProtocol");
  protocol_ = std::move(typed);
}

/// In two turns: whoever waits for connection_made goes on before there are datagrams.
void SocketDatagramTransport::on_made() {
  if (is_made_) return go_on_reading();
  if (state_ == State::gone) return;
  is_made_ = true;
  const auto error = guarded("connection_made", [this] { protocol_->connection_made(shared_from_this()); });
  if (error) return lose(error);
  if (state_ == State::open) channel_.loop().post(made_);
}

// Receiving: a bounded number in each turn.

void SocketDatagramTransport::go_on_reading() {
  if (state_ != State::open) return;
  if (channel_.may_try(Direction::read))
    channel_.loop().post(readable_);
  else
    channel_.arm(Direction::read, readable_);
}

void SocketDatagramTransport::on_readable() {
  for (std::size_t count = 0; count < most_per_turn && state_ == State::open && channel_.may_try(Direction::read);)
    count += receive_some();
  go_on_reading();
}

/// How many datagrams that were, an error counting as one.
std::size_t SocketDatagramTransport::receive_some() {
  auto& batch = channel_.loop().service<DatagramBatch>();
  batch.clear();
  if (channel_.is_unix())
    batch.add_long_slot();
  else
    batch.add_slots(channel_.good_batch_size());
  const DatagramChannel::Result result = channel_.try_receive(batch);
  if (result.status == DatagramChannel::Status::failed) {
    on_receive_failed(result.error);
    return 1;
  }
  receive_error_count_ = 0;
  for (std::size_t i = 0; i < result.count && state_ == State::open; ++i) deliver(batch[i]);
  return result.count;
}

void SocketDatagramTransport::deliver(const DatagramBatch::Datagram& datagram) {
  if (datagram.is_truncated()) {
    const auto error = channel_.make_truncated_error(datagram);
    guarded("error_received", [&] { protocol_->error_received(error); });
  } else {
    guarded("datagram_received", [&] { protocol_->datagram_received(datagram.data, datagram.from); });
  }
}

void SocketDatagramTransport::on_receive_failed(int error_number) {
  auto error = channel_.make_error("recvfrom", error_number);
  if (++receive_error_count_ > most_receive_errors) return lose(std::move(error));
  guarded("error_received", [&] { protocol_->error_received(error); });
}

// Sending.

void SocketDatagramTransport::check_open(const char* method) const {
  if (was_ended_here_) throw InvalidStateError(std::string(method) + "() after close() or abort()");
}

void SocketDatagramTransport::sendto(std::string_view data, const Address& addr) {
  check_open("sendto");
  channel_.check_destination(addr);
  if (state_ != State::open) return drop_write(channel_.loop(), "sendto");
  if (queue_.empty() && send_now(data, addr)) return;
  queue_.push(data, addr);
  check_high_water();
}

/// False if it has to wait.
bool SocketDatagramTransport::send_now(std::string_view data, const Address& to) {
  for (bool is_first = true;; is_first = false) {
    const DatagramChannel::Result result = channel_.try_send(data, to);
    switch (result.status) {
      case DatagramChannel::Status::done: return true;
      case DatagramChannel::Status::would_block: wait_until_writable(); return false;
      case DatagramChannel::Status::no_room: wait_for_room(); return false;
      case DatagramChannel::Status::failed: break;
    }
    tell_error(channel_.make_error("sendto", result.error, to));
    if (!is_first || !channel_.may_be_of_another(result.error)) return true;
  }
}

void SocketDatagramTransport::send_queue() {
  while (!queue_.empty()) {
    if (!channel_.may_try(Direction::write)) return wait_until_writable();
    SendBatch batch;
    queue_.for_first(SendBatch::capacity, [&](std::string_view data, const Address& to) { batch.add(data, to); });
    const DatagramChannel::Result result = channel_.try_send(batch);
    switch (result.status) {
      case DatagramChannel::Status::done:
        queue_.pop(result.count);
        has_heard_of_another_ = false;
        break;
      case DatagramChannel::Status::would_block: return wait_until_writable();
      case DatagramChannel::Status::no_room: return wait_for_room();
      case DatagramChannel::Status::failed: on_send_failed(result.error); break;
    }
  }
}

/// The oldest one in the queue could not be sent.
void SocketDatagramTransport::on_send_failed(int error) {
  tell_error(channel_.make_error("sendto", error, queue_.front_address()));
  if (!has_heard_of_another_ && channel_.may_be_of_another(error)) {
    has_heard_of_another_ = true;
    return;
  }
  has_heard_of_another_ = false;
  queue_.pop();
}

void SocketDatagramTransport::wait_until_writable() { channel_.arm(Direction::write, writable_); }

void SocketDatagramTransport::wait_for_room() {
  retry_ = channel_.loop().call_later(channel_.retry_delay(), [this] { on_writable(); });
}

void SocketDatagramTransport::on_writable() {
  if (state_ != State::open && state_ != State::closing) return;
  send_queue();
  on_queue_shrunk();
}

/// What had to wait for datagrams to go.
void SocketDatagramTransport::on_queue_shrunk() {
  if (protocol_ == nullptr) return;
  if (is_writing_paused_ && queue_.size_bytes() <= marks_.low_bytes()) {
    is_writing_paused_ = false;
    guarded("resume_writing", [this] { protocol_->resume_writing(); });
  }
  if (queue_.empty() && state_ == State::closing) lose(nullptr);
}

void SocketDatagramTransport::check_high_water() {
  if (is_writing_paused_ || queue_.size_bytes() <= marks_.high_bytes() || protocol_ == nullptr) return;
  is_writing_paused_ = true;
  guarded("pause_writing", [this] { protocol_->pause_writing(); });
}

void SocketDatagramTransport::set_write_buffer_limits(WriteBufferLimits limits) {
  marks_.set(limits);
  on_queue_shrunk();
  check_high_water();
}

/// From the loop, never from inside sendto(): who answers an error by sending again must not go round for ever.
void SocketDatagramTransport::tell_error(std::exception_ptr error) {
  channel_.loop().call_soon([self = shared_from_this(), error = std::move(error)] {
    if (self->state_ != State::gone) self->guarded("error_received", [&] { self->protocol_->error_received(error); });
  });
}

// Groups.

void SocketDatagramTransport::join_group(const MulticastGroup& group) {
  check_open("join_group");
  detail::join_group(channel_.fd(), group);
}

void SocketDatagramTransport::leave_group(const MulticastGroup& group) {
  check_open("leave_group");
  detail::leave_group(channel_.fd(), group);
}

// Ending.

void SocketDatagramTransport::close() {
  was_ended_here_ = true;
  if (state_ != State::open) return;
  state_ = State::closing;
  channel_.disarm(Direction::read);
  if (queue_.empty()) lose(nullptr);
}

void SocketDatagramTransport::abort() {
  was_ended_here_ = true;
  lose(nullptr);
}

/// The only way to the end.
void SocketDatagramTransport::lose(std::exception_ptr error) {
  if (state_ == State::lost || state_ == State::gone) return;
  state_ = State::lost;
  lost_error_ = std::move(error);
  queue_.clear();
  retry_.cancel();
  channel_.disarm(Direction::read);
  channel_.disarm(Direction::write);
  channel_.loop().post(lost_);
}

void SocketDatagramTransport::on_lost() {
  const auto self = std::move(self_);
  state_ = State::gone;
  guarded("connection_lost", [this] { protocol_->connection_lost(lost_error_); });
  channel_.close();
  ListHook<OpenTransport>::unlink();
  protocol_ = nullptr;
}

}  // namespace tulp::detail
