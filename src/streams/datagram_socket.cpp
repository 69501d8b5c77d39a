#include <tulp/datagram_socket.hpp>
#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "net/datagram.hpp"
#include "tasks/park_until.hpp"
#include "streams/turns.hpp"
#include "transports/datagram_channel.hpp"
#include "transports/datagram_queue.hpp"
#include "transports/open_transports.hpp"

namespace tulp {
namespace detail {

/// What a socket keeps between its calls.
class DatagramSocketState final : public OpenTransport {
 public:
  DatagramSocketState(EventLoop& loop, OpenedDatagramSocket socket) : channel(loop, std::move(socket)) {
    loop.service<OpenTransports>().add(*this);
  }
  ~DatagramSocketState() { close(); }

  void close() override {
    channel.close();
    ahead.clear();
    ListHook<OpenTransport>::unlink();
  }
  void abort() override { close(); }
  std::size_t get_write_buffer_size() const noexcept override { return 0; }
  std::string peer() const override { return channel.peer(); }

  void check_open(const char* operation) const {
    if (!channel.is_open()) throw_os_error(ECANCELED, std::string(operation) + ": the socket was closed on this side");
  }

  DatagramChannel channel;
  DatagramQueue ahead;  // came with one that was asked for
  Duration timeout = Duration::max();
  bool is_receiving = false;
  Turns send_turns;
};

namespace {

class ChannelPark final : public Park {
 public:
  ChannelPark(DatagramChannel& channel, Direction direction, TaskControl& me)
      : channel_(channel), direction_(direction) {
    channel_.arm(direction_, me);
  }
  ChannelPark(const ChannelPark&) = delete;
  ChannelPark& operator=(const ChannelPark&) = delete;
  ~ChannelPark() { undo(); }
  void undo() noexcept override { channel_.disarm(direction_); }
  std::string description() const override {
    return std::string(direction_ == Direction::read ? "a datagram from " : "room for a datagram to ") +
           channel_.peer() + " (descriptor " + std::to_string(channel_.fd()) + ")";
  }

 private:
  DatagramChannel& channel_;
  Direction direction_;
};

/// One call that receives: refuses a second one, and bounds how long it waits.
class Receiving {
 public:
  Receiving(DatagramSocketState& state, const char* function)
      : state_(state), me_(require_task(function)), batch_(me_.loop().service<DatagramBatch>()) {
    if (state.is_receiving)
      throw InvalidStateError(std::string(function) + "() was called while another task receives from this socket");
    state.is_receiving = true;
  }
  Receiving(const Receiving&) = delete;
  Receiving& operator=(const Receiving&) = delete;
  ~Receiving() { state_.is_receiving = false; }

  /// Begins: whether there are datagrams that came with an earlier one.  May let others run.
  bool has_some_ahead() {
    begin_operation(me_);
    return !state_.ahead.empty();
  }

  /// Fetches what is there into the batch, in which `make_room` has made room; how many datagrams.
  template <class MakeRoom>
  std::size_t receive(MakeRoom make_room) {
    for (;;) {
      state_.check_open("recvfrom");
      if (state_.channel.may_try(Direction::read)) {
        batch_.clear();
        make_room(batch_);
        const DatagramChannel::Result result = state_.channel.try_receive(batch_);
        if (result.status == DatagramChannel::Status::done) return result.count;
        if (result.status == DatagramChannel::Status::failed)
          std::rethrow_exception(state_.channel.make_error("recvfrom", result.error));
      }
      wait();
    }
  }

  /// The i-th of those.
  DatagramBatch::Datagram received(std::size_t i) const noexcept { return batch_[i]; }

  /// Fetches one datagram into `memory`, or else into memory of the batch, and keeps what comes with it; calls `take` with
  /// it.
  template <class Take>
  void receive_one(std::optional<std::span<char>> memory, Take take) {
    if (has_some_ahead()) {
      const std::string_view data = state_.ahead.front();
      take(DatagramBatch::Datagram{data, state_.ahead.front_address(), data.size()});
      return state_.ahead.pop();
    }
    const std::size_t count = receive([&](DatagramBatch& batch) { make_room(batch, memory); });
    for (std::size_t i = 1; i < count; ++i) state_.ahead.push(batch_[i].data, batch_[i].from);
    take(batch_[0]);
  }

 private:
  void make_room(DatagramBatch& batch, std::optional<std::span<char>> memory) const {
    if (memory) batch.add(*memory);
    if (!state_.channel.is_unix())
      batch.add_slots(state_.channel.good_batch_size() - batch.size());
    else if (!memory)
      batch.add_long_slot();  // nothing is fetched ahead that might be longer than a slot
  }

  void wait() {
    throw_if_cancelled();
    if (!deadline_) deadline_ = state_.timeout.is_never() ? TimePoint::max() : after(me_.loop().time(), state_.timeout);
    ChannelPark wait(state_.channel, Direction::read, me_);
    if (!park_until(wait, me_, *deadline_) && !state_.channel.may_try(Direction::read) && state_.channel.is_open())
      throw TimeoutError("recvfrom " + state_.peer() + " timed out");
  }

  DatagramSocketState& state_;
  TaskControl& me_;
  DatagramBatch& batch_;
  std::optional<TimePoint> deadline_;  // once it has waited
};

ReceivedDatagram put_into(std::span<char> memory, const DatagramBatch::Datagram& datagram) {
  const std::size_t size = std::min(memory.size(), datagram.data.size());
  if (datagram.data.data() != memory.data()) datagram.data.copy(memory.data(), size);
  return {.size = size, .address = datagram.from, .is_truncated = datagram.size_bytes > size};
}

/// Tries until `try_send()` has sent something; how many datagrams.
template <class TrySend>
std::size_t send_in_turn(DatagramSocketState& state, TaskControl& me, const Address& first, TrySend try_send) {
  const Turns::Turn turn(state.send_turns);
  begin_operation(me);
  for (;;) {
    state.check_open("sendto");
    if (state.channel.may_try(Direction::write)) {
      const DatagramChannel::Result result = try_send();
      if (result.status == DatagramChannel::Status::done) return result.count;
      if (result.status == DatagramChannel::Status::failed)
        std::rethrow_exception(state.channel.make_error("sendto", result.error, first));
      if (result.status == DatagramChannel::Status::no_room) {
        sleep(state.channel.retry_delay());
        continue;
      }
    }
    throw_if_cancelled();
    ChannelPark wait(state.channel, Direction::write, me);
    park(wait);
  }
}

}  // namespace
}  // namespace detail

using detail::DatagramBatch;
using detail::DatagramChannel;
using detail::DatagramSocketState;
using detail::put_into;
using detail::Receiving;
using detail::send_in_turn;

DatagramSocket::DatagramSocket(std::unique_ptr<DatagramSocketState> state) : state_(std::move(state)) {}
DatagramSocket::DatagramSocket(DatagramSocket&&) noexcept = default;
DatagramSocket& DatagramSocket::operator=(DatagramSocket&&) noexcept = default;
DatagramSocket::~DatagramSocket() = default;

Datagram DatagramSocket::recvfrom(std::size_t max_bytes) {
  Receiving receiving(*state_, "DatagramSocket::recvfrom");
  Datagram received;
  std::exception_ptr error;
  receiving.receive_one(std::nullopt, [&](DatagramBatch::Datagram datagram) {
    datagram.data = datagram.data.substr(0, max_bytes);
    if (datagram.is_truncated())
      error = state_->channel.make_truncated_error(datagram);
    else
      received = {std::string(datagram.data), datagram.from};
  });
  if (error) std::rethrow_exception(error);
  return received;
}

ReceivedDatagram DatagramSocket::recvfrom_into(std::span<char> into) {
  Receiving receiving(*state_, "DatagramSocket::recvfrom_into");
  ReceivedDatagram received;
  receiving.receive_one(into, [&](const DatagramBatch::Datagram& datagram) { received = put_into(into, datagram); });
  return received;
}

std::size_t DatagramSocket::recvmmsg(std::span<DatagramBuffer> buffers) {
  Receiving receiving(*state_, "DatagramSocket::recvmmsg");
  if (buffers.empty()) return 0;
  buffers = buffers.first(std::min(buffers.size(), DatagramBatch::capacity));
  if (receiving.has_some_ahead()) {
    auto& ahead = state_->ahead;
    const std::size_t count = std::min(buffers.size(), ahead.count());
    auto* buffer = buffers.data();
    ahead.for_first(count, [&](std::string_view data, const Address& address) {
      buffer->received = put_into(buffer->memory, {data, address, data.size()});
      ++buffer;
    });
    ahead.pop(count);
    return count;
  }
  const std::size_t count = receiving.receive([&](DatagramBatch& room) {
    for (const DatagramBuffer& buffer : buffers) room.add(buffer.memory);
  });
  for (std::size_t i = 0; i < count; ++i) buffers[i].received = put_into(buffers[i].memory, receiving.received(i));
  return count;
}

void DatagramSocket::sendto(std::string_view data, const Address& addr) {
  detail::TaskControl& me = detail::require_task("DatagramSocket::sendto");
  state_->channel.check_destination(addr);
  send_in_turn(*state_, me, addr, [&] { return state_->channel.try_send(data, addr); });
}

std::size_t DatagramSocket::sendmmsg(std::span<const OutgoingDatagram> datagrams) {
  detail::TaskControl& me = detail::require_task("DatagramSocket::sendmmsg");
  if (datagrams.empty()) return 0;
  datagrams = datagrams.first(std::min(datagrams.size(), detail::SendBatch::capacity));
  for (const OutgoingDatagram& datagram : datagrams) state_->channel.check_destination(datagram.address);
  return send_in_turn(*state_, me, datagrams[0].address, [&] {
    detail::SendBatch batch;
    for (const OutgoingDatagram& datagram : datagrams) batch.add(datagram.data, datagram.address);
    return state_->channel.try_send(batch);
  });
}

void DatagramSocket::set_read_timeout(Duration timeout) { state_->timeout = timeout; }

void DatagramSocket::join_group(const MulticastGroup& group) {
  state_->check_open("join_group");
  detail::join_group(state_->channel.fd(), group);
}

void DatagramSocket::leave_group(const MulticastGroup& group) {
  state_->check_open("leave_group");
  detail::leave_group(state_->channel.fd(), group);
}

void DatagramSocket::close() { state_->close(); }
bool DatagramSocket::is_closing() const noexcept { return !state_->channel.is_open(); }
std::any DatagramSocket::get_extra_info(std::string_view key) const { return state_->channel.get_extra_info(key); }

DatagramSocket open_datagram_socket(DatagramOptions options) {
  EventLoop& loop = detail::require_task("open_datagram_socket").loop();
  auto socket = detail::open_datagram(detail::take_datagram_socket(options), options);
  return DatagramSocket(std::make_unique<DatagramSocketState>(loop, std::move(socket)));
}

}  // namespace tulp
