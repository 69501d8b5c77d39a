#include "bench/client.hpp"

#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace tool::bench {

void Client::pump(tulp::TimePoint now) {
  if (!is_open_) return;
  due_times_.clear();
  const std::size_t room = this->room();
  while (due_times_.size() < room) {
    const tulp::TimePoint due = worker_.plan().is_open_loop() ? next_due() : now;
    if (due > now || !worker_.take()) break;
    due_times_.push_back(due);
    ++sent_count_;
  }
  if (!due_times_.empty()) send(due_times_, now);
}

StreamClient::StreamClient(Worker& worker, std::size_t number)
    : Client(worker, number), waiting_(worker.plan().pipeline) {}

void StreamClient::open() {
  const Plan& plan = worker_.plan();
  tulp::ConnectOptions options{.timeout = plan.timeout, .ssl_handshake_timeout = plan.timeout};
  if (plan.tls) {
    options.ssl = worker_.tls_context();
    options.server_hostname = plan.server_name;
  }
  const auto protocol = std::static_pointer_cast<StreamClient>(shared_from_this());
  tulp::await(tulp::get_event_loop().create_connection([protocol] { return protocol; }, plan.address, options));
}

void StreamClient::connection_made(std::shared_ptr<tulp::Transport> transport) {
  transport_ = std::move(transport);
  lost_.clear();
  is_open_ = true;
  ended_well_ = false;
  answered_count_ = 0;
  reset();
  if (waiting_count_ == 0) return;
  const tulp::TimePoint now = worker_.now();  // these were asked on the connection before
  for (std::size_t i = 0; i < waiting_count_; ++i) waiting(i).sent = now;
  write_requests(waiting_count_);
}

void StreamClient::send(const std::vector<tulp::TimePoint>& due_times, tulp::TimePoint now) {
  for (const tulp::TimePoint due : due_times) waiting(waiting_count_++) = {due, now};
  write_requests(due_times.size());
}

void StreamClient::data_received(std::string_view data) {
  const tulp::TimePoint now = worker_.now();
  try {
    read_answers(data, now);
  } catch (const Wrong& wrong) {
    return give_up(wrong.what());
  }
  pump(now);
}

/// Of those that wait, and when it was due.
tulp::TimePoint StreamClient::take_first() {
  const tulp::TimePoint due = waiting(0).due;
  first_ = (first_ + 1) % waiting_.size();
  --waiting_count_;
  return due;
}

void StreamClient::note_answer(tulp::TimePoint now, std::size_t bytes) {
  ++answered_count_;
  worker_.note_answer(take_first(), now, bytes);
}

void StreamClient::note_failure(const std::string& kind) {
  ++answered_count_;
  take_first();
  worker_.note_failure(kind, 1);
}

void StreamClient::end() {
  is_open_ = false;
  ended_well_ = true;
  transport_->close();
}

/// Of this connection, and of all that waits for an answer on it.
void StreamClient::give_up(const std::string& kind) {
  worker_.note_failure(kind, std::exchange(waiting_count_, 0));
  if (std::exchange(is_open_, false)) transport_->abort();
}

void StreamClient::sweep(tulp::TimePoint limit) {
  if (waiting_count_ > 0 && waiting(0).sent < limit) give_up("no answer in time");
}

void StreamClient::close() {
  if (!std::exchange(is_open_, false)) return;
  waiting_count_ > 0 ? transport_->abort() : transport_->close();
}

void StreamClient::connection_lost(std::exception_ptr error) {
  const bool was_given_up = !std::exchange(is_open_, false);
  transport_.reset();
  try {
    if (error) std::rethrow_exception(error);
    if (!was_given_up && !(ended_well_ = ends_in_order())) throw Wrong("closed by the server");
  } catch (const std::exception& failure) {
    if (!was_given_up) worker_.note_failure(failure.what(), std::exchange(waiting_count_, 0));
  }
  lost_.set();
}

}  // namespace tool::bench
