// How a server ends what it has accepted: modern rows 25 and 26, and shutdown.
#include <tulp/error.hpp>
#include <tulp/server.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/serving.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(Serving,
                 "close_clients closes the connections that stand, with what was written, and no listening socket") {
  Server server = serve();
  Peer first = Peer::connect(server.port());
  wait_for(1);
  Peer second = Peer::connect(server.port());
  wait_for(2);
  protocols[0]->transport->write("goodbye");
  server.close_clients();
  until([&] { return protocols[0]->is_lost() && protocols[1]->is_lost(); });
  CHECK(errno_of(protocols[0]->lost_with) == 0);
  until([&] { return first.is_over() && second.is_over(); });
  CHECK(first.received == "goodbye");
  CHECK(first.error == 0);
  CHECK(server.is_serving());
  server.close_clients();  // there are none
  end(server);
}

TEST_CASE_METHOD(Serving, "abort_clients drops what is buffered and resets the connections") {
  Server server = serve();
  Peer peer = Peer::connect(server.port(), 4096);
  wait_for(1);
  protocols[0]->transport->write(pattern(8 << 20));
  server.abort_clients();
  until([&] { return protocols[0]->is_lost(); });
  until([&] { return peer.is_over(); });
  CHECK(peer.error == ECONNRESET);
  end(server);
}

TEST_CASE_METHOD(Serving, "a protocol that ends other connections when its own ends does no harm to close_clients") {
  Server server = serve();
  std::vector<Peer> peers;
  for (std::size_t i = 1; i <= 5; ++i) {
    peers.push_back(Peer::connect(server.port()));
    wait_for(i);
  }
  for (const auto& protocol : protocols)
    protocol->on_lost = [&] {
      for (const auto& other : protocols)
        if (other->transport) other->transport->abort();
      server.abort_clients();
    };
  server.close_clients();
  until([&] { return std::all_of(protocols.begin(), protocols.end(), [](const auto& p) { return p->is_lost(); }); });
  end(server);
}

namespace {

/// A stream server whose handlers do what the test wants, and which says how they ended.
class Handling : public NetTest {
 public:
  Server start(std::function<void(StreamReader&, StreamWriter&)> body) {
    return start_server(
        [this, body = std::move(body)](StreamReader reader, StreamWriter writer) {
          trace.push_back("begin");
          try {
            body(reader, writer);
            trace.push_back("end");
          } catch (const CancelledError&) {
            trace.push_back("cancelled");
            throw;
          } catch (const OsError& error) {
            trace.push_back(error.code().value() == ECANCELED ? "closed" : error.what());
            throw;
          }
        },
        "127.0.0.1", 0);
  }
  Peer connect_to(const Server& server) {
    Peer peer = Peer::connect(server.port());
    const std::size_t begun = trace.size();
    while (trace.size() == begun) sleep(0s);
    return peer;
  }
  Trace trace;
};

}  // namespace

TEST_CASE_METHOD(Handling,
                 "a handler whose connection close_clients closes hears it at its next read, and ends quietly") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) {
      writer.write("hello");
      reader.readline();
    });
    Peer peer = connect_to(server);
    server.close();
    server.close_clients();
    server.wait_closed();
    let_others_run(2);
    CHECK(trace == Trace{"begin", "closed"});
    CHECK(peer.is_over());
    CHECK(peer.received == "hello");
  });
}

TEST_CASE_METHOD(Handling,
                 "a handler that writes after close_clients or abort_clients hears it too, and ends quietly") {
  run([&] {
    for (const bool is_aborted : {false, true}) {
      trace.clear();
      Future<> go_on;
      Server server = start([&](StreamReader&, StreamWriter& writer) {
        await(go_on);
        writer.write("too late");
      });
      Peer peer = connect_to(server);
      is_aborted ? server.abort_clients() : server.close_clients();
      go_on.set_result();
      server.close();
      server.wait_closed();
      let_others_run(3);
      CHECK(trace == Trace{"begin", "closed"});
      CHECK(peer.is_over());
      CHECK(peer.received.empty());
    }
  });
}

TEST_CASE_METHOD(Handling, "a handler's own errors are reported even if the server has closed its connection") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter&) {
      try {
        reader.readline();
      } catch (const OsError&) {
        throw std::runtime_error("a bug");
      }
    });
    Peer peer = connect_to(server);
    server.close_clients();
    let_others_run(5);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(describe(reports[0].exception) == "a bug");
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(Handling, "a stream that its own handler closes elsewhere and then uses is still an error to report") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) {
      writer.transport().close();
      reader.readline();
    });
    Peer peer = connect_to(server);
    let_others_run(5);
    CHECK(take_reports().size() == 1);
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(Handling, "cancelling serve_forever cancels the handlers") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) {
      writer.write("hello");
      reader.readline();
    });
    auto serving = create_task([&] { server.serve_forever(); });
    Peer peer = connect_to(server);
    let_others_run(2);
    serving.cancel();
    server.wait_closed();
    CHECK(serving.cancelled());
    CHECK(trace == Trace{"begin", "cancelled"});
    CHECK(peer.is_over());
    CHECK(peer.received == "hello");
  });
}

TEST_CASE_METHOD(Serving, "cancelling serve_forever closes the connections of protocols") {
  Server server = serve();
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  auto serving = create_task([&] { server.serve_forever(); });
  settle();
  serving.cancel();
  until([&] { return protocols[0]->is_lost(); });
  CHECK(errno_of(protocols[0]->lost_with) == 0);
  until([&] { return peer.is_over(); });
  CHECK(peer.error == 0);
}

// shutdown.

TEST_CASE_METHOD(Handling,
                 "shutdown lets what is under way end by itself, accepts nothing new, and returns when all is over") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) { writer.write(reader.readline()); });
    Peer first = connect_to(server), second = connect_to(server);
    auto ending = create_task([&] { return server.shutdown(1h); });
    let_others_run(2);
    CHECK_FALSE(server.is_serving());
    CHECK_THROWS_AS(open_connection("127.0.0.1", server.port()), ConnectionRefusedError);
    first.send("one\n");
    while (!first.is_over()) sleep(0s);
    CHECK_FALSE(ending.done());
    second.send("two\n");
    const auto start = loop().time();
    CHECK(await(ending) == 0);
    CHECK(loop().time() - start < 1min);
    CHECK(second.collect() == "two\n");
    CHECK(trace == Trace{"begin", "begin", "end", "end"});
  });
}

TEST_CASE_METHOD(Handling,
                 "after the grace shutdown cancels the handlers that are left, and says how many those were") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) {
      writer.write("hello");
      reader.readline();
    });
    Peer first = connect_to(server), second = connect_to(server);
    const auto start = loop().time();
    CHECK(server.shutdown(20ms) == 2);
    CHECK(loop().time() - start >= 20ms);
    CHECK(trace == Trace{"begin", "begin", "cancelled", "cancelled"});
    CHECK(first.is_over());
    CHECK(first.received == "hello");
    CHECK(first.error == 0);
    CHECK(server.shutdown(1h) == 0);  // once more
  });
}

TEST_CASE_METHOD(Handling,
                 "shutdown without grace lets what is cancelled say goodbye, and does not wait for the deaf") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) {
      struct Goodbye {
        StreamWriter& writer;
        ~Goodbye() { writer.write_nowait("goodbye"); }
      } const goodbye{writer};
      reader.readline();
    });
    Server deaf_server = start([](StreamReader&, StreamWriter& writer) {
      writer.write_nowait(pattern(16 << 20));
      sleep(1h);
    });
    Peer polite = connect_to(server), deaf = connect_to(deaf_server);
    CHECK(server.shutdown(0s) == 1);
    CHECK(polite.is_over());
    CHECK(polite.received == "goodbye");
    CHECK(deaf_server.shutdown(0s) == 1);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.find("bytes to 127.0.0.1:") != std::string::npos);
    CHECK(reports[0].message.find("were not sent") != std::string::npos);
    CHECK(deaf.is_over());
    CHECK(deaf.error == ECONNRESET);
  });
}

TEST_CASE_METHOD(Handling, "a write that shutdown cuts in its middle does not look like a proper end to the peer") {
  run([&] {
    Server server = start([](StreamReader&, StreamWriter& writer) { writer.write(pattern(16 << 20)); });
    Peer peer = connect_to(server);
    CHECK(server.shutdown(0s) == 1);
    while (!peer.is_over()) sleep(0s);
    CHECK(peer.error == ECONNRESET);
  });
}

TEST_CASE_METHOD(Handling, "shutdown waits for handlers that go on after their connection is gone") {
  run([&] {
    Future<> go_on;
    Server server = start([&](StreamReader&, StreamWriter& writer) {
      writer.close();
      await(go_on);
    });
    Peer peer = connect_to(server);
    server.close();
    server.wait_closed();  // which does not
    auto ending = create_task([&] { return server.shutdown(1h); });
    let_others_run(5);
    CHECK_FALSE(ending.done());
    go_on.set_result();
    CHECK(await(ending) == 0);
    CHECK(trace == Trace{"begin", "end"});
  });
}

TEST_CASE_METHOD(Handling, "a handler may shut its server down: it does not wait for itself, and is not cancelled") {
  run([&] {
    std::size_t ended = 99;
    std::unique_ptr<Server> server;
    server = std::make_unique<Server>(start([&](StreamReader& reader, StreamWriter& writer) {
      if (reader.readline() != "quit\n") return;
      ended = server->shutdown(10ms);
      writer.write("done");
    }));
    Peer other = connect_to(*server), quitting = connect_to(*server);
    quitting.send("quit\n");
    while (!quitting.is_over()) sleep(1ms);
    CHECK(quitting.received == "done");
    CHECK(ended == 1);
    CHECK(other.is_over());
    CHECK(trace == Trace{"begin", "begin", "cancelled", "end"});
    server->wait_closed();
  });
}

TEST_CASE_METHOD(Handling, "cancelling shutdown leaves the server closed and its connections as they are") {
  run([&] {
    Server server = start([](StreamReader& reader, StreamWriter& writer) { writer.write(reader.readline()); });
    Peer peer = connect_to(server);
    auto ending = create_task([&] { server.shutdown(1h); });
    let_others_run(2);
    ending.cancel();
    CHECK_THROWS_AS(await(ending), FutureCancelledError);
    CHECK_FALSE(server.is_serving());
    peer.send("still served\n");
    while (!peer.is_over()) sleep(0s);
    CHECK(peer.received == "still served\n");
    CHECK(server.shutdown(1h) == 0);
  });
}

TEST_CASE_METHOD(Serving, "shutdown ends the connections of protocols when the grace is over, the idle ones properly") {
  Server server = serve();
  Peer idle = Peer::connect(server.port());
  wait_for(1);
  Peer deaf = Peer::connect(server.port(), 4096);
  wait_for(2);
  protocols[1]->transport->write(pattern(8 << 20));
  run([&] { CHECK(server.shutdown(5ms) == 2); });
  CHECK(protocols[0]->is_lost());
  CHECK(protocols[1]->is_lost());
  CHECK(idle.is_over());
  CHECK(idle.error == 0);
  CHECK(take_reports().size() == 1);
  CHECK_THROWS_AS(server.shutdown(0s), InvalidStateError);  // outside a task
}
