// Transports and protocols: protocols.py says what is expected.
#include <tulp/server.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

const std::string eight_mebibytes(8 << 20, '\0');

/// Runs until the connection is lost, unless it is.
void end(EventLoop& loop, Recorder& protocol) {
  if (!protocol.is_lost) protocol.transport->abort();
  run_until(loop, [&] { return protocol.is_lost; });
}

/// The peer takes what is there until `condition`.
template <class Condition>
void drain(EventLoop& loop, const Wire& wire, Condition condition) {
  while (!condition()) {
    wire.peer.take();
    run_once(loop);
  }
}

std::shared_ptr<Recorder> recorder(const std::string& name = {}) { return std::make_shared<Recorder>(name); }

template <class Factory>
Server serve(EventLoop& loop, Factory factory) {
  return loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0));
}

}  // namespace

SCENARIO(a_whole_life) {
  const auto protocol = recorder();
  Wire wire(loop, protocol);
  trace("connected");
  wire.send("hello");
  run_once(loop);
  wire.transport->write("goodbye");
  wire.half_close();
  run_once(loop);
  trace("closing", wire.transport->is_closing());
  run_once(loop);
  trace("peer got", wire.peer.receive());
}

SCENARIO(connection_made_comes_before_create_connection_is_done) {
  const auto protocol = recorder();
  protocol->on_made = [&] { loop.call_soon(trace, "called soon"); };
  const Wire wire(loop, protocol);
  trace("connected");
  end(loop, *protocol);
}

SCENARIO(nothing_is_read_before_connection_made_has_run) {
  const PlainListener listener;
  std::vector<Peer> peers;
  const auto protocol = recorder();
  protocol->on_made = [&] {
    peers.push_back(listener.accept());
    peers[0].send("greeting");
  };
  loop.run_until_complete([&] {
    await(loop.create_connection([&] { return protocol; }, "127.0.0.1", listener.port()));
    trace("connected");
  });
  run_until(loop, [&] { return protocol->count == 1; });
  end(loop, *protocol);
}

SCENARIO(what_data_received_gives_runs_before_the_next_data) {
  const auto protocol = recorder();
  protocol->on_data = [&] { loop.call_soon(trace, "called soon"); };
  const Wire wire(loop, protocol);
  for (const char* text : {"a", "b"}) {
    wire.send(text);
    run_once(loop);
  }
  run_once(loop);
  end(loop, *protocol);
}

SCENARIO(data_and_the_end_that_come_together) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.peer.send("last words");
  wire.half_close();
  run_until(loop, [&] { return protocol->is_lost; });
  trace("peer got", wire.peer.receive());
}

SCENARIO(a_protocol_that_answers_the_end_goes_on_writing) {
  const auto protocol = recorder();
  protocol->on_eof = [&] { loop.call_soon(trace, "called soon"); };
  protocol->keeps_writing = true;
  const Wire wire(loop, protocol);
  wire.half_close();
  run_until(loop, [&] { return protocol->has_ended; });
  run_once(loop);
  trace("closing", wire.transport->is_closing());
  wire.transport->write("still here");
  wire.transport->close();
  trace("closing", wire.transport->is_closing());
  run_until(loop, [&] { return protocol->is_lost; });
  trace("peer got", wire.peer.receive());
}

// close and abort.

SCENARIO(connection_lost_is_called_soon_after_close) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  loop.call_soon(trace, "given before");
  wire.transport->close();
  loop.call_soon(trace, "given behind");
  trace("closing", wire.transport->is_closing());
  run_once(loop);
}

SCENARIO(connection_lost_is_called_soon_after_abort) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  loop.call_soon(trace, "given before");
  wire.transport->abort();
  loop.call_soon(trace, "given behind");
  trace("closing", wire.transport->is_closing());
  run_once(loop);
}

SCENARIO(ending_a_connection_twice_is_ending_it_once) {
  using Ending = void (Transport::*)();
  constexpr Ending close = &Transport::close, abort = &Transport::abort;
  const std::pair<Ending, Ending> endings[] = {{close, close}, {close, abort}, {abort, close}, {abort, abort}};
  for (const auto& [first, second] : endings) {
    const auto protocol = recorder();
    const Wire wire(loop, protocol);
    Transport& transport = *wire.transport;
    (transport.*first)();
    (transport.*second)();
    run_once(loop);
    run_once(loop);
    (transport.*second)();
    run_once(loop);
  }
}

SCENARIO(close_in_connection_made) {
  const auto protocol = recorder();
  protocol->on_made = [&] { protocol->transport->close(); };
  const Wire wire(loop, protocol);
  trace("connected");
  run_until(loop, [&] { return protocol->is_lost; });
  trace("peer got", wire.peer.receive());
}

SCENARIO(close_in_data_received) {
  const auto protocol = recorder();
  protocol->on_data = [&] {
    protocol->transport->close();
    loop.call_soon(trace, "called soon");
    trace("closed");
  };
  const Wire wire(loop, protocol);
  wire.send("data");
  run_once(loop);
  wire.peer.send("never read");
  run_until(loop, [&] { return protocol->is_lost; });
  run_once(loop);
}

SCENARIO(abort_in_data_received_before_the_end_is_read) {
  const auto protocol = recorder();
  protocol->on_data = [&] { protocol->transport->abort(); };
  const Wire wire(loop, protocol);
  wire.peer.send("data");
  wire.half_close();
  run_until(loop, [&] { return protocol->is_lost; });
  run_once(loop);
}

SCENARIO(close_in_eof_received) {
  const auto protocol = recorder();
  protocol->on_eof = [&] { protocol->transport->close(); };
  protocol->keeps_writing = true;
  const Wire wire(loop, protocol);
  wire.half_close();
  run_until(loop, [&] { return protocol->is_lost; });
  trace("peer got", wire.peer.receive());
}

SCENARIO(connection_lost_may_close_and_abort) {
  const auto protocol = recorder();
  protocol->on_lost = [&] {
    protocol->transport->close();
    protocol->transport->abort();
    loop.call_soon(trace, "called soon");
  };
  const Wire wire(loop, protocol);
  wire.transport->close();
  for (int i = 0; i < 3; ++i) run_once(loop);
}

SCENARIO(close_sends_what_was_written_before) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->write("one ");
  const std::string_view pieces[] = {"two ", "three"};
  wire.transport->writelines(pieces);
  wire.transport->close();
  run_until(loop, [&] { return protocol->is_lost; });
  trace("peer got", wire.peer.receive());
}

SCENARIO(a_reset_by_the_peer) {
  const auto protocol = recorder();
  Wire wire(loop, protocol);
  wire.reset();
  run_once(loop);
  run_once(loop);
  trace("closing", wire.transport->is_closing());
}

// Writing.

SCENARIO(a_write_after_close) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->write("before");
  wire.transport->close();
  trace("write", outcome([&] { wire.transport->write("after"); }));
  run_until(loop, [&] { return protocol->is_lost; });
  trace("write", outcome([&] { wire.transport->write("after"); }));
  trace("peer got", wire.peer.receive());
}

SCENARIO(a_write_after_the_connection_is_lost_is_dropped) {
  const auto protocol = recorder();
  Wire wire(loop, protocol);
  wire.reset();
  run_until(loop, [&] { return protocol->is_lost; });
  trace("write", outcome([&] { wire.transport->write("after"); }));
}

SCENARIO(write_eof_is_the_end_for_the_peer_and_reading_goes_on) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  trace("can write eof", wire.transport->can_write_eof());
  wire.transport->write("last words");
  wire.transport->write_eof();
  wire.transport->write_eof();
  trace("write", outcome([&] { wire.transport->write("more"); }));
  trace("peer got", wire.peer.receive());
  wire.send("answer");
  run_once(loop);
  trace("closing", wire.transport->is_closing());
  end(loop, *protocol);
}

SCENARIO(an_empty_write_is_nothing) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->write("");
  trace(wire.transport->get_write_buffer_size());
  wire.transport->close();
  run_until(loop, [&] { return protocol->is_lost; });
  trace("peer got", wire.peer.receive());
}

SCENARIO(a_full_buffer_pauses_the_writer_at_once_and_resumes_it_later) {
  bool is_resumed = false;
  const auto protocol = recorder();
  protocol->on_pause = [&] { loop.call_soon(trace, "called soon"); };
  protocol->on_resume = [&] { is_resumed = true; };
  const Wire wire(loop, protocol);
  wire.transport->write(eight_mebibytes);
  trace("write returned", wire.transport->get_write_buffer_size() > 0);
  wire.transport->write(eight_mebibytes.substr(7 << 20));
  drain(loop, wire, [&] { return is_resumed; });
  trace("below the low mark", wire.transport->get_write_buffer_size() <= 16 * 1024);
  end(loop, *protocol);
}

SCENARIO(a_protocol_that_writes_when_it_may_is_paused_again) {
  int pauses = 0;
  const auto protocol = recorder();
  protocol->on_pause = [&] { ++pauses; };
  protocol->on_resume = [&] {
    if (pauses < 2) protocol->transport->write(eight_mebibytes);
  };
  const Wire wire(loop, protocol);
  wire.transport->write(eight_mebibytes);
  drain(loop, wire, [&] { return pauses == 2; });
  end(loop, *protocol);
}

SCENARIO(abort_with_a_full_buffer_does_not_resume_the_writer) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->write(eight_mebibytes);
  wire.transport->abort();
  trace("left to send", wire.transport->get_write_buffer_size());
  run_once(loop);
}

SCENARIO(close_with_a_full_buffer_sends_it_first) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->write(eight_mebibytes);
  wire.transport->close();
  trace("closing", wire.transport->is_closing(), protocol->is_lost);
  drain(loop, wire, [&] { return protocol->is_lost; });
}

SCENARIO(no_room_at_all_pauses_at_any_byte) {
  bool is_resumed = false;
  const auto protocol = recorder();
  protocol->on_resume = [&] { is_resumed = true; };
  const Wire wire(loop, protocol);
  wire.transport->set_write_buffer_limits({.high_bytes = 0});
  wire.transport->write("taken by the kernel");
  wire.transport->write(eight_mebibytes);
  drain(loop, wire, [&] { return is_resumed; });
  trace(wire.transport->get_write_buffer_size());
  end(loop, *protocol);
}

SCENARIO(marks_that_cross_are_refused) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  trace(outcome([&] { wire.transport->set_write_buffer_limits({.high_bytes = 1, .low_bytes = 2}); }));
  end(loop, *protocol);
}

// Reading.

SCENARIO(nothing_is_received_while_reading_is_paused) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->pause_reading();
  wire.transport->pause_reading();
  trace("reading", wire.transport->is_reading());
  wire.send("data");
  run_once(loop);
  run_once(loop);
  trace("resumed");
  wire.transport->resume_reading();
  wire.transport->resume_reading();
  trace("reading", wire.transport->is_reading());
  run_until(loop, [&] { return protocol->count == 1; });
  end(loop, *protocol);
}

SCENARIO(reading_is_paused_in_connection_made) {
  const auto protocol = recorder();
  protocol->on_made = [&] { protocol->transport->pause_reading(); };
  const Wire wire(loop, protocol);
  wire.send("data");
  run_once(loop);
  run_once(loop);
  trace("resumed");
  wire.transport->resume_reading();
  run_until(loop, [&] { return protocol->count == 1; });
  end(loop, *protocol);
}

SCENARIO(reading_is_paused_between_two_pieces) {
  const auto protocol = recorder();
  protocol->on_data = [&] { protocol->transport->pause_reading(); };
  const Wire wire(loop, protocol);
  wire.send("a");
  run_once(loop);
  wire.peer.send("b");
  wire.half_close();
  for (int i = 0; i < 3; ++i) run_once(loop);
  trace("resumed");
  wire.transport->resume_reading();
  run_until(loop, [&] { return protocol->count == 2; });
  for (int i = 0; i < 3; ++i) run_once(loop);
  trace("resumed");
  wire.transport->resume_reading();
  run_until(loop, [&] { return protocol->is_lost; });
}

SCENARIO(a_closing_transport_neither_pauses_nor_resumes_reading) {
  const auto protocol = recorder();
  const Wire wire(loop, protocol);
  wire.transport->close();
  wire.transport->pause_reading();
  wire.transport->resume_reading();
  trace("reading", wire.transport->is_reading());
  run_until(loop, [&] { return protocol->is_lost; });
}

SCENARIO(a_protocol_hands_over_to_another) {
  const auto first = recorder("first"), second = recorder("second");
  first->on_data = [&] { first->transport->set_protocol(second); };
  const Wire wire(loop, first);
  wire.send("a");
  run_once(loop);
  trace(wire.transport->get_protocol() == second);
  wire.send("b");
  run_once(loop);
  wire.transport->close();
  run_until(loop, [&] { return second->is_lost; });
}

// Failing.

SCENARIO(data_received_that_fails_ends_the_connection) {
  const auto protocol = recorder();
  protocol->on_data = [] { fail(); };
  const Wire wire(loop, protocol);
  wire.send("data");
  loop.call_soon(trace, "given before");
  run_once(loop);
  trace("closing", wire.transport->is_closing());
  run_once(loop);
}

SCENARIO(eof_received_that_fails_ends_the_connection) {
  const auto protocol = recorder();
  protocol->on_eof = [] { fail(); };
  const Wire wire(loop, protocol);
  wire.half_close();
  run_once(loop);
  run_once(loop);
}

SCENARIO(connection_made_that_fails) {
  const auto protocol = recorder();
  protocol->on_made = [] { fail(); };
  const Wire wire(loop, protocol);
  if (!protocol->is_lost) wire.peer.send("data");
  run_until(loop, [&] { return protocol->is_lost || protocol->count == 1; });
}

SCENARIO(connection_lost_that_fails_is_reported) {
  const auto protocol = recorder();
  protocol->on_lost = [] { fail(); };
  const Wire wire(loop, protocol);
  wire.transport->close();
  loop.call_soon(trace, "next");
  run_once(loop);
  trace("peer got", wire.peer.receive());
}

SCENARIO(pause_writing_that_fails_is_reported_and_no_more) {
  const auto protocol = recorder();
  protocol->on_pause = [] { fail(); };
  const Wire wire(loop, protocol);
  wire.transport->write(eight_mebibytes);
  trace("closing", wire.transport->is_closing());
  end(loop, *protocol);
}

// Servers.

SCENARIO(a_server_makes_a_protocol_for_each_connection) {
  const std::string names[] = {"first", "second"};
  std::vector<std::shared_ptr<Recorder>> made;
  Server server = serve(loop, [&] {
    made.push_back(recorder(names[made.size()]));
    made.back()->on_data = [&] { loop.call_soon(trace, "called soon"); };
    return made.back();
  });
  std::vector<Peer> clients;
  for (const std::string& name : names) {
    clients.push_back(Peer::connect(server.port()));
    clients.back().send(name);
    run_until(loop, [&] { return made.size() == clients.size() && made.back()->count == 1; });
  }
  run_once(loop);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    clients[i].close();
    run_until(loop, [&] { return made[i]->is_lost; });
  }
  server.close();
  run_once(loop);
}

SCENARIO(a_server_that_closes_keeps_its_connections) {
  const auto protocol = recorder();
  Server server = serve(loop, [&] { return protocol; });
  trace("serving", server.is_serving());
  Peer client = Peer::connect(server.port());
  run_until(loop, [&] { return protocol->transport != nullptr; });
  server.close();
  server.close();
  trace("serving", server.is_serving(), "closing", protocol->transport->is_closing());
  client.send("data");
  run_until(loop, [&] { return protocol->count == 1; });
  client.close();
  run_until(loop, [&] { return protocol->is_lost; });
}

SCENARIO(a_server_is_over_when_its_last_connection_is_gone) {
  const auto protocol = recorder();
  Server server = serve(loop, [&] { return protocol; });
  const Peer client = Peer::connect(server.port());
  run_until(loop, [&] { return protocol->transport != nullptr; });
  server.close();
  trace("closed");
  auto task = create_task([&] {
    server.wait_closed();
    trace("over");
  });
  for (int i = 0; i < 3; ++i) run_once(loop);
  trace("waits");
  protocol->transport->abort();
  run_until(loop, [&] { return protocol->is_lost; });
  loop.run_until_complete(Future<>(task));
}

SCENARIO(a_connection_whose_factory_fails) {
  Server server = serve(loop, []() -> std::shared_ptr<Recorder> { fail(); });
  Peer client = Peer::connect(server.port());
  run_until(loop, [&] { return client.has_ended(); });
  trace("client got the end");
  client.close();
  trace("serving", server.is_serving());
  server.close();
  run_once(loop);
}
