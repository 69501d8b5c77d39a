// An echo server for datagrams: what is sent comes back, or it does not.
#include <tulp/datagram_transport.hpp>
#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/client.hpp"
#include "connecting.hpp"

namespace tool::bench {
namespace {

/// What a datagram begins with.  Nobody else looks into it, so that its bytes stand in our own order.
struct Label {
  std::uint32_t place;  // among those that may be without an answer
  std::uint32_t round;  // how many were sent in this place before
};

class DatagramClient final : public Client, public tulp::DatagramProtocol {
 public:
  DatagramClient(Worker& worker, std::size_t number) : Client(worker, number), waiting_(worker.plan().pipeline) {
    for (std::size_t i = waiting_.size(); i > 0; --i) free_places_.push_back(static_cast<std::uint32_t>(i - 1));
  }

  void open() override {
    const auto self = std::static_pointer_cast<DatagramClient>(shared_from_this());
    tulp::await(tulp::get_event_loop().create_datagram_endpoint([self] { return self; },
                                                                {.remote_addr = worker_.plan().address}));
  }
  bool ended_well() const noexcept override { return false; }
  void sweep(tulp::TimePoint limit) override;
  void close() override {
    if (std::exchange(is_open_, false)) transport_->abort();
  }

  void connection_made(std::shared_ptr<tulp::DatagramTransport> transport) override {
    transport_ = std::move(transport);
    lost_.clear();
    is_open_ = true;
  }
  void datagram_received(std::string_view data, const tulp::Address&) override;
  void error_received(std::exception_ptr error) override;
  void connection_lost(std::exception_ptr error) override {
    const bool was_open = std::exchange(is_open_, false);
    transport_.reset();
    if (error && was_open) error_received(error);
    lost_.set();
  }

 private:
  struct Waiting {
    tulp::TimePoint due, sent;
    std::uint32_t round = 0;
    bool is_waiting = false;
  };

  void send(const std::vector<tulp::TimePoint>& due_times, tulp::TimePoint now) override;
  std::size_t room() const noexcept override { return free_places_.size(); }
  void release(std::uint32_t place);
  /// Everything of a datagram but its label.
  std::string_view rest(Label label) const {
    return worker_.pattern().message(number_ + label.place, label.round).substr(sizeof(Label));
  }

  std::shared_ptr<tulp::DatagramTransport> transport_;
  std::vector<Waiting> waiting_;
  std::vector<std::uint32_t> free_places_;
  std::string message_;
};

void DatagramClient::send(const std::vector<tulp::TimePoint>& due_times, tulp::TimePoint now) {
  for (const tulp::TimePoint due : due_times) {
    const std::uint32_t place = free_places_.back();
    free_places_.pop_back();
    Waiting& waiting = waiting_[place];
    waiting = {due, now, waiting.round + 1, true};
    const Label label{place, waiting.round};
    message_.assign(reinterpret_cast<const char*>(&label), sizeof label);
    message_ += rest(label);
    transport_->sendto(message_);
  }
}

void DatagramClient::datagram_received(std::string_view data, const tulp::Address&) {
  const tulp::TimePoint now = worker_.now();
  Label label{};
  const bool has_size = data.size() == worker_.plan().size_bytes;
  if (has_size) std::memcpy(&label, data.data(), sizeof label);
  if (!has_size || label.place >= waiting_.size() || data.substr(sizeof label) != rest(label)) {
    return worker_.note_failure("other bytes came back", 0);  // what it should have been is going to be lost
  }
  Waiting& waiting = waiting_[label.place];
  if (!waiting.is_waiting || waiting.round != label.round) {
    ++worker_.tally().stray_count;
    return;
  }
  release(label.place);
  worker_.note_answer(waiting.due, now, data.size());
  pump(now);
}

void DatagramClient::error_received(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const tulp::ConnectionRefusedError& refused) {
    if (!worker_.has_answers()) {
      worker_.fail(std::make_exception_ptr(Failure(ExitCode::not_connected, refused.what())));
    }
    worker_.note_failure(refused.what(), 0);
  } catch (const std::exception& failure) {
    worker_.note_failure(failure.what(), 0);
  }
}

void DatagramClient::release(std::uint32_t place) {
  waiting_[place].is_waiting = false;
  free_places_.push_back(place);
}

void DatagramClient::sweep(tulp::TimePoint limit) {
  bool has_room = false;
  for (std::uint32_t place = 0; place < waiting_.size(); ++place) {
    if (!waiting_[place].is_waiting || waiting_[place].sent >= limit) continue;
    release(place);
    worker_.note_lost();
    has_room = true;
  }
  if (has_room) pump(worker_.now());
}

}  // namespace

std::shared_ptr<Client> make_datagram_client(Worker& worker, std::size_t number) {
  return std::make_shared<DatagramClient>(worker, number);
}

}  // namespace tool::bench
