// Client: one connection of a benchmark.  Its life is a fiber of Worker's; what comes and goes on it are callbacks, for
// the sake of the last microsecond.
#pragma once
#include <tulp/event.hpp>
#include <tulp/protocol.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bench/worker.hpp"

namespace tool::bench {

class Client : public std::enable_shared_from_this<Client> {
 public:
  /// The `number`th of the worker's.
  Client(Worker& worker, std::size_t number) : worker_(worker), number_(number) { lost_.set(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  /// Parks: until the connection stands.  Throws: what keeps it from that.
  virtual void open() = 0;
  /// Parks: until it does not stand any more.
  void wait_lost() { lost_.wait(); }
  /// Whether it ended without an error, after an answer: another one may be opened at once.
  virtual bool ended_well() const noexcept = 0;
  /// Sends what is due, as far as the pipeline has room.
  void pump(tulp::TimePoint now);
  /// Gives up on what was sent before `limit`.
  virtual void sweep(tulp::TimePoint limit) = 0;
  /// In order, if nothing is without an answer.
  virtual void close() = 0;
  /// The first of the requests that it has not sent, at a fixed rate.
  tulp::TimePoint next_due() const { return worker_.due(number_, sent_count_); }

 protected:
  /// Sends a request for each of these times, at which they were due.
  virtual void send(const std::vector<tulp::TimePoint>& due_times, tulp::TimePoint now) = 0;
  virtual std::size_t room() const noexcept = 0;

  Worker& worker_;
  const std::size_t number_;
  tulp::Event lost_;
  bool is_open_ = false;

 private:
  std::uint64_t sent_count_ = 0;
  std::vector<tulp::TimePoint> due_times_;  // while pump() runs
};

/// A connection whose answers come in the order of the requests.
class StreamClient : public Client, public tulp::Protocol {
 public:
  StreamClient(Worker& worker, std::size_t number);

  void open() override;
  bool ended_well() const noexcept override { return ended_well_; }
  void sweep(tulp::TimePoint limit) override;
  void close() override;

  void connection_made(std::shared_ptr<tulp::Transport> transport) override;
  void data_received(std::string_view data) final;
  void connection_lost(std::exception_ptr error) override;

 protected:
  virtual void write_requests(std::size_t count) = 0;
  /// Calls note_answer() for each answer that is complete, and throws Wrong.
  virtual void read_answers(std::string_view data, tulp::TimePoint now) = 0;
  /// The server has ended the connection.  Whether what has no answer may be asked again.  Throws: Wrong.
  virtual bool ends_in_order() { return false; }
  virtual void reset() = 0;

  struct Wrong : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  bool is_waiting() const noexcept { return waiting_count_ > 0; }
  bool has_answers() const noexcept { return answered_count_ > 0; }
  std::uint64_t answered_count() const noexcept { return answered_count_; }
  void note_answer(tulp::TimePoint now, std::size_t bytes);
  /// Instead of an answer; the connection goes on.
  void note_failure(const std::string& kind);
  /// The answer was the last one here.
  void end();
  tulp::Transport& transport() noexcept { return *transport_; }

 private:
  struct Waiting {
    tulp::TimePoint due, sent;
  };

  void send(const std::vector<tulp::TimePoint>& due_times, tulp::TimePoint now) override;
  std::size_t room() const noexcept override { return waiting_.size() - waiting_count_; }
  Waiting& waiting(std::size_t place) { return waiting_[(first_ + place) % waiting_.size()]; }
  tulp::TimePoint take_first();
  void give_up(const std::string& kind);

  std::shared_ptr<tulp::Transport> transport_;
  std::vector<Waiting> waiting_;  // a ring
  std::size_t first_ = 0;
  std::size_t waiting_count_ = 0;
  std::uint64_t answered_count_ = 0;  // on this connection
  bool ended_well_ = false;
};

std::shared_ptr<Client> make_echo_client(Worker& worker, std::size_t number);
std::shared_ptr<Client> make_datagram_client(Worker& worker, std::size_t number);
std::shared_ptr<Client> make_http_client(Worker& worker, std::size_t number);

}  // namespace tool::bench
