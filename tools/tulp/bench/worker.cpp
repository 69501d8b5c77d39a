#include "bench/worker.hpp"

#include <tulp/error.hpp>
#include <tulp/task.hpp>
#include <tulp/task_group.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "bench/client.hpp"
#include "concurrently.hpp"
#include "connecting.hpp"
#include "terminal.hpp"

namespace tool::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_opening = 100;  // more would overflow the queue of many a server
constexpr auto tick = 10ms;
constexpr auto sweep_interval = 100ms;
constexpr auto pause_after_failure = 100ms;

std::shared_ptr<Client> make_client(Worker& worker, std::size_t number) {
  switch (worker.plan().peer) {
    case Peer::echo: return make_echo_client(worker, number);
    case Peer::datagrams: return make_datagram_client(worker, number);
    case Peer::http: return make_http_client(worker, number);
  }
  return nullptr;
}

/// What the `index`th of `of` gets of `all`.
std::uint64_t share(std::uint64_t all, std::size_t index, std::size_t of) {
  return all / of + (index < all % of ? 1 : 0);
}

}  // namespace

Worker::Worker(const Plan& plan, std::size_t index, Shared& shared, std::stop_token stop)
    : plan_(plan), index_(index), shared_(shared), stop_(std::move(stop)), pattern_(plan.size_bytes) {
  if (plan.tls) tls_ = *plan.tls;
  const std::uint64_t count = share(plan.connection_count, index, plan.thread_count);
  for (std::size_t i = 0; i < count; ++i) clients_.push_back(make_client(*this, i));
  if (plan.request_count) left_count_ = share(*plan.request_count, index, plan.thread_count);
}

Worker::~Worker() {
  pacer_.cancel();
  for (const auto& client : clients_) client->close();
}

Tally Worker::run() {
  open_all();
  ++shared_.ready_count;
  while (shared_.ready_count < plan_.thread_count && !stop_.stop_requested()) tulp::sleep(1ms);
  begin();
  tulp::with_task_group([this](tulp::TaskGroup& group) {
    for (const auto& client : clients_) group.create_task([this, &client = *client] { keep_open(client); });
    pump_all();
    watch(measured_to_, false);
    stop_sending();
    watch(tulp::after(now(), plan_.timeout), true);
    if (!stop_.stop_requested()) {
      for (const auto& client : clients_) client->sweep(tulp::TimePoint::max());
    }
    group.cancel();
  });
  if (error_) std::rethrow_exception(error_);
  tally_.time = (left_count_ ? std::min(measured_to_, last_answer_) : measured_to_) - measured_from_;
  return std::move(tally_);
}

void Worker::open_all() {
  const Ticker stopper(tick, [this, task = tulp::current_task()]() mutable {
    if (stop_.stop_requested()) task.cancel("asked to stop");
  });
  for_each_concurrently(clients_.size(), most_opening,
                        [this](std::size_t index) { connecting([&] { clients_[index]->open(); }); });
}

void Worker::begin() {
  begin_ = now();
  measured_from_ = last_answer_ = tulp::after(begin_, plan_.warm_up);
  measured_to_ = tulp::after(measured_from_, plan_.duration);
  is_sending_ = true;
}

/// The fiber of a connection.
void Worker::keep_open(Client& client) {
  for (;;) {
    client.wait_lost();
    if (client.ended_well()) {
      ++tally_.reopened_count;
    } else {
      tulp::sleep(pause_after_failure);
    }
    reopen(client);
  }
}

void Worker::reopen(Client& client) {
  for (;;) {
    try {
      client.open();
      return client.pump(now());
    } catch (const std::exception& error) {
      note_failure(error.what(), take() ? 1 : 0);
    }
    tulp::sleep(pause_after_failure);
  }
}

void Worker::pump_all() {
  if (plan_.is_open_loop()) return pace();
  for (const auto& client : clients_) client->pump(now());
}

/// The requests of all clients are due in turns, so that one timer serves them all.
void Worker::pace() {
  const auto next = [this] { return due(paced_count_ % clients_.size(), paced_count_ / clients_.size()); };
  for (const tulp::TimePoint time = now(); next() <= time; ++paced_count_) {
    clients_[paced_count_ % clients_.size()]->pump(time);
  }
  pacer_ = loop_.call_at(next(), [this] { pace(); });
}

tulp::TimePoint Worker::due(std::size_t client, std::uint64_t count) const {
  const double place = static_cast<double>(count * clients_.size() + client) * static_cast<double>(plan_.thread_count) +
                       static_cast<double>(index_);
  return tulp::after(begin_, std::chrono::duration<double>(place / plan_.rate));
}

/// Until then, or until nothing is left to be sent or answered.
void Worker::watch(tulp::TimePoint until, bool ends_when_idle) {
  tulp::TimePoint next_sweep = now();
  for (tulp::TimePoint time = now(); time < until && !stop_.stop_requested() && !error_; time = now()) {
    shared_.answered_count += std::exchange(unpublished_count_, 0);
    if (waiting_count_ == 0 && (ends_when_idle || left_count_ == 0u)) return;
    if (time >= next_sweep) {
      for (const auto& client : clients_) client->sweep(time - std::chrono::nanoseconds(plan_.timeout));
      next_sweep = time + sweep_interval;
    }
    tulp::sleep(std::min<std::chrono::nanoseconds>(tick, until - time));
  }
}

void Worker::stop_sending() {
  is_sending_ = false;
  pacer_.cancel();
  measured_to_ = std::clamp(now(), measured_from_, measured_to_);
  count_owed();
}

void Worker::count_owed() {
  if (!plan_.is_open_loop() || left_count_) return;
  const std::chrono::duration<double> interval(static_cast<double>(plan_.connection_count) / plan_.rate);
  for (const auto& client : clients_) {
    const std::chrono::duration<double> behind = measured_to_ - client->next_due();
    if (behind.count() > 0) tally_.owed_count += static_cast<std::uint64_t>(behind / interval) + 1;
  }
}

bool Worker::take() {
  if (!is_sending_ || left_count_ == 0u) return false;
  if (left_count_) --*left_count_;
  ++waiting_count_;
  return true;
}

void Worker::note_answer(tulp::TimePoint due, tulp::TimePoint now, std::size_t bytes) {
  --waiting_count_;
  has_answers_ = true;
  last_answer_ = now;
  if (due >= measured_from_) tally_.latencies.record(now - due);
  if (now >= measured_from_ && now <= measured_to_) {
    ++tally_.answered_count;
    tally_.received_bytes += bytes;
  }
  ++unpublished_count_;
}

void Worker::note_failure(const std::string& kind, std::uint64_t count) {
  waiting_count_ -= count;
  tally_.errors.add(kind, std::max<std::uint64_t>(count, 1));
  shared_.failed_count.fetch_add(std::max<std::uint64_t>(count, 1), std::memory_order_relaxed);
}

void Worker::note_lost() {
  --waiting_count_;
  ++tally_.lost_count;
}

void Worker::fail(std::exception_ptr error) {
  if (!error_) error_ = std::move(error);
}

}  // namespace tool::bench
