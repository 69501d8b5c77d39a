#include "proxy/connection.hpp"

#include <poll.h>

#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/task_group.hpp>

#include <chrono>
#include <utility>

#include "terminal.hpp"

namespace tool::proxy {
namespace {

using namespace std::chrono_literals;

/// How long a receiver may hold up a flow before it is looked whether the sender is still there, whom nobody reads then.
constexpr tulp::Duration stuck_after = 1s;

/// Whether the peer has reset the connection, although there may be something left to read.
bool is_broken(const tulp::StreamWriter& side) {
  const auto socket = side.get_extra_info<int>("socket");
  pollfd found{socket.value_or(-1), 0, 0};
  return ::poll(&found, 1, 0) > 0 && (found.revents & POLLERR) != 0;
}

}  // namespace

Connection::Connection(tulp::Streams& client, tulp::Streams& target, const ConnectionLimits& limits, Entry& entry)
    : limits_(limits),
      entry_(entry),
      up_{client.reader, client.writer, target.writer, "client", entry.up_bytes},
      down_{target.reader, target.writer, client.writer, "target", entry.down_bytes},
      moved_at_(tulp::get_event_loop().time()) {
  for (tulp::StreamWriter* writer : {&client.writer, &target.writer})
    writer->transport().set_write_buffer_limits(
        {.high_bytes = 0, .low_bytes = 0});  // what is large waits in our buffer
  if (!limits_.idle_limit.is_never()) watch_idleness();
}

Connection::~Connection() {
  idle_timer_.cancel();
  writing_timer_.cancel();
  for (Flow* flow : {&up_, &down_})
    if (!is_over_) flow->to.transport().abort();
}

void Connection::run() {
  tulp::with_task_group([&](tulp::TaskGroup& group) {
    group.create_task([&] { pass_on(up_); });
    pass_on(down_);
  });
  close();
  is_over_ = true;
}

void Connection::pass_on(Flow& flow) {
  const auto on_read = [&] {
    flow.is_writing = true;
    watch_writing();
  };
  const auto on_moved = [&](std::size_t size) {
    flow.is_writing = false;
    flow.bytes += size;
    moved_at_ = tulp::get_event_loop().time();
  };
  const RelayEnd end = relay(flow.from, flow.to, limits_.buffer_bytes, on_read, on_moved);
  flow.is_writing = false;
  switch (end.how) {
    case RelayEnd::How::at_end: return end_at_target_of(flow);
    case RelayEnd::How::cannot_read: return break_off(std::string(flow.name) + ": " + tulp::describe(end.error));
    case RelayEnd::How::cannot_write: return note(tulp::describe(end.error));  // it may have something to say still
  }
}

/// The second end is close()'s to pass on, which comes at once.
void Connection::end_at_target_of(Flow& flow) {
  flow.has_ended = true;
  if (up_.has_ended && down_.has_ended) return;
  try {
    end_writing(flow.to);
  } catch (const std::exception& error) {
    note(error.what());
  }
}

/// Parks: until the last bytes are sent.
void Connection::close() {
  for (Flow* flow : {&up_, &down_}) flow->to.close();
  for (Flow* flow : {&up_, &down_}) {
    try {
      flow->to.wait_closed();
    } catch (const std::exception& error) {
      note(error.what());
    }
  }
}

/// What ended it first is what there is to say.
void Connection::note(const std::string& what) {
  if (entry_.end == Entry().end) entry_.end = what;
}

void Connection::break_off(const std::string& why) {
  note(why);
  for (Flow* flow : {&up_, &down_}) flow->to.transport().abort();
}

/// The timer is set again when it fires, and not with each piece.
void Connection::watch_idleness() {
  tulp::EventLoop& loop = tulp::get_event_loop();
  const tulp::TimePoint end = tulp::after(moved_at_, limits_.idle_limit);
  if (loop.time() >= end) return break_off("idle for " + in_time(limits_.idle_limit));
  idle_timer_ = loop.call_at(end, [this] { watch_idleness(); });
}

/// Runs while something is being written, and not while nobody says anything.
void Connection::watch_writing() {
  if (std::exchange(is_watching_, true)) return;
  writing_timer_ = tulp::get_event_loop().call_later(stuck_after, [this] { check_writing(); });
}

void Connection::check_writing() {
  is_watching_ = false;
  for (Flow* flow : {&up_, &down_}) {
    const bool is_stuck = flow->is_writing && flow->bytes == flow->bytes_at_check;
    flow->bytes_at_check = flow->bytes;
    if (is_stuck && is_broken(flow->source))
      return break_off(std::string(flow->name) + " has broken the connection, before all was taken");
  }
  if (up_.is_writing || down_.is_writing) watch_writing();
}

}  // namespace tool::proxy
