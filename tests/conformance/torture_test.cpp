// Torture: in programs that serve, connect, resolve and exchange, over each kind of channel and in each form, every
// system call fails in every way that it may, once and in a row.  Everything arrives, or somebody is told the error;
// nothing hangs and nothing leaks.
#include <tulp/datagram_socket.hpp>
#include <tulp/datagram_transport.hpp>
#include <tulp/error.hpp>
#include <tulp/pipe.hpp>
#include <tulp/protocol.hpp>
#include <tulp/run.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "support/datagrams.hpp"
#include "support/faults.hpp"
#include "support/net.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// The errors that anybody was told.
class Told {
 public:
  void tell(const std::exception_ptr& error) {
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const std::system_error& e) {
      numbers_.insert(e.code().value());
    } catch (...) {
    }
    ++count_;
  }
  bool is(int number) const { return numbers_.count(number) != 0; }
  int count() const { return count_; }

 private:
  std::set<int> numbers_;
  int count_ = 0;
};

/// Something was lost on the way.
struct Loss : std::runtime_error {
  using runtime_error::runtime_error;
};

const std::string& much() {
  static const std::string bytes = pattern(50'000);
  return bytes;
}

/// A task that has ended when the scope of what it uses does.
class Beside {
 public:
  template <class F>
  explicit Beside(F body) : task_(create_task(std::move(body))) {}
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;
  ~Beside() {
    const CancelShield shield;
    task_.cancel();
    while (!task_.done()) sleep(0s);
    if (!task_.cancelled()) task_.exception();  // somebody has it, or has one of his own
  }
  void wait() { await(task_); }
  bool done() const { return task_.done(); }

 private:
  Task<> task_;
};

// Programs.

void echo_back(StreamReader reader, StreamWriter writer) {
  for (std::string data; !(data = reader.read(20'000)).empty();) writer.write(data);
}

void exchange(Told&, StreamReader& reader, StreamWriter& writer) {
  writer.write("hello\n");
  if (reader.readline() != "hello\n") {
    writer.drain();  // which knows if it was not sent
    throw Loss("no echo");
  }
  Beside sending([&] {
    writer.write(much());
    writer.write_eof();
  });
  const std::string received = reader.read();
  sending.wait();
  if (received != much()) throw Loss("the echo is not whole");
  writer.close();
  writer.wait_closed();
}

void end(Server& server) {
  server.close();
  server.wait_closed();
}

void tcp_streams(Told& told) {
  Server server = start_server(echo_back, "localhost", 0, {.family = AF_INET});
  auto [reader, writer] = open_connection("localhost", server.port(), {.family = AF_INET});
  exchange(told, reader, writer);
  end(server);
}

void unix_streams(Told& told) {
  const Folder folder;
  Server server = start_unix_server(echo_back, folder / "socket");
  auto [reader, writer] = open_unix_connection(folder / "socket");
  exchange(told, reader, writer);
  end(server);
}

/// Sends back, and tells how it ends.
class TortureEcho : public Protocol {
 public:
  explicit TortureEcho(Told& told) : told_(told) {}
  void connection_made(std::shared_ptr<Transport> transport) override { transport_ = std::move(transport); }
  void data_received(std::string_view data) override { transport_->write(data); }
  void connection_lost(std::exception_ptr error) override {
    told_.tell(error);
    transport_ = nullptr;
  }

 private:
  Told& told_;
  std::shared_ptr<Transport> transport_;
};

std::shared_ptr<Recorder> make_client(Told& told) {
  auto client = std::make_shared<Recorder>();
  client->on_lost = [&told, client = client.get()] { told.tell(client->lost_with); };
  client->on_made = [client = client.get()] {
    client->transport->write("hello\n");
    client->transport->write(much());
    client->transport->write_eof();
  };
  return client;
}

void finish(const Recorder& client, Server& server) {
  while (!client.is_lost()) sleep(100us);
  if (client.received != "hello\n" + much()) throw Loss("the echo is not whole");
  end(server);
}

void tcp_protocols(Told& told) {
  EventLoop& loop = get_event_loop();
  Server server = await(loop.create_server([&] { return std::make_shared<TortureEcho>(told); }, "127.0.0.1", 0));
  const auto client = make_client(told);
  await(loop.create_connection([&] { return client; }, "127.0.0.1", server.port()));
  finish(*client, server);
}

void unix_protocols(Told& told) {
  EventLoop& loop = get_event_loop();
  const Folder folder;
  Server server =
      await(loop.create_unix_server([&] { return std::make_shared<TortureEcho>(told); }, folder / "socket"));
  const auto client = make_client(told);
  await(loop.create_unix_connection([&] { return client; }, folder / "socket"));
  finish(*client, server);
}

/// A pipe, of which tulp gets the ends.
struct TorturePipe {
  TorturePipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    reading.emplace(ends[0]);
    writing.emplace(ends[1]);
    Faults::pipes.insert({ends[0], ends[1]});
  }
  /// Calls `take` with the descriptor, which is tulp's from then on unless tulp says that it is none for it.
  template <class Take>
  static auto give(std::optional<UniqueFd>& end, Take take) {
    try {
      auto taken = take(end->get());
      end->release();
      return taken;
    } catch (const std::invalid_argument&) {
      throw;
    } catch (...) {
      end->release();
      throw;
    }
  }
  std::optional<UniqueFd> reading, writing;
};

void pipe_streams(Told&) {
  TorturePipe pipe;
  StreamReader reader = TorturePipe::give(pipe.reading, open_read_pipe);
  StreamWriter writer = TorturePipe::give(pipe.writing, open_write_pipe);
  Beside sending([&] {
    StreamWriter mine = std::move(writer);  // closed if it fails, or the reader would wait
    mine.write("hello\n");
    mine.write(much());
    mine.write(much());
    mine.close();
    mine.wait_closed();
  });
  const std::string received = reader.read();
  sending.wait();
  if (received != "hello\n" + much() + much()) throw Loss("the pipe has lost something");
}

void pipe_protocols(Told& told) {
  EventLoop& loop = get_event_loop();
  TorturePipe pipe;
  const auto reader = std::make_shared<Recorder>(), writer = std::make_shared<Recorder>();
  for (const auto& end : {reader, writer}) end->on_lost = [&told, end = end.get()] { told.tell(end->lost_with); };
  await(TorturePipe::give(pipe.reading, [&](int fd) { return loop.connect_read_pipe([&] { return reader; }, fd); }));
  await(TorturePipe::give(pipe.writing, [&](int fd) { return loop.connect_write_pipe([&] { return writer; }, fd); }));
  writer->transport->write("hello\n");
  writer->transport->write(much());
  writer->transport->write(much());
  writer->transport->close();
  while (!reader->is_lost() || !writer->is_lost()) sleep(100us);
  if (reader->received != "hello\n" + much() + much()) throw Loss("the pipe has lost something");
}

constexpr int datagram_count = 8;

void datagram_protocols(Told& told) {
  EventLoop& loop = get_event_loop();
  const auto echo = std::make_shared<DatagramRecorder>(), client = std::make_shared<DatagramRecorder>();
  for (const auto& end : {echo, client}) end->on_error = [&told, end = end.get()] { told.tell(end->errors.back()); };
  auto server = await(loop.create_datagram_endpoint([&] { return echo; }, {.local_addr = {"127.0.0.1", 0}})).transport;
  echo->on_datagram = [&](std::string_view data, const Address& from) { server->sendto(data, from); };
  auto transport =
      await(loop.create_datagram_endpoint([&] { return client; }, {.remote_addr = address_of(*server)})).transport;
  std::vector<std::string> sent;
  for (int i = 0; i < datagram_count; ++i) transport->sendto(sent.emplace_back(std::to_string(i)));
  while (client->received.size() < sent.size() && told.count() == 0) sleep(100us);
  sleep(200us);  // what comes in spite of an error comes now
  const bool is_whole = client->data() == sent;
  transport->close();
  server->close();
  while (!echo->is_lost() || !client->is_lost()) sleep(100us);
  if (!is_whole) throw Loss("not every datagram came back");
}

void datagram_sockets(Told& told) {
  DatagramSocket server = open_datagram_socket({.local_addr = {"127.0.0.1", 0}});
  DatagramSocket client = open_datagram_socket({.remote_addr = address_of(server)});
  Beside serving([&] {
    std::vector<std::array<char, 16>> memory(4);
    std::vector<DatagramBuffer> buffers;
    for (auto& one : memory) buffers.push_back({.memory = one});
    for (int answered = 0; answered < datagram_count;) {
      try {
        const std::size_t count = server.recvmmsg(buffers);
        std::vector<OutgoingDatagram> answers;
        for (std::size_t i = 0; i < count; ++i) answers.push_back({buffers[i].data(), buffers[i].received.address});
        for (std::span<const OutgoingDatagram> left = answers; !left.empty();)
          left = left.subspan(server.sendmmsg(left));
        answered += static_cast<int>(count);
      } catch (const OsError&) {
        told.tell(std::current_exception());
        return;
      }
    }
  });
  Beside asking([&] {
    for (int i = 0; i < datagram_count; ++i) client.sendto(std::to_string(i));
    for (int i = 0; i < datagram_count; ++i)
      if (client.recvfrom().data != std::to_string(i)) throw Loss("another datagram was expected");
  });
  while (!asking.done() && told.count() == 0) sleep(100us);
  if (!asking.done()) throw Loss("the server has given up");
  asking.wait();
  serving.wait();
}

struct Program {
  const char* name;
  void (*run)(Told&);
};
constexpr Program programs[] = {
    {"TCP, streams, names", tcp_streams},   {"TCP, protocols", tcp_protocols},  {"Unix, streams", unix_streams},
    {"Unix, protocols", unix_protocols},    {"pipes, streams", pipe_streams},   {"pipes, protocols", pipe_protocols},
    {"UDP, protocols", datagram_protocols}, {"UDP, sockets", datagram_sockets},
};

// Torture.

struct TortureOutcome {
  std::string what = "well";
  bool is_hang = false;
  Told told;
};

TortureOutcome attempt(const Program& program, SelectorKind selector) {
  TortureOutcome outcome;
  auto note = [&](const std::exception& error) {
    outcome.what = error.what();
    outcome.told.tell(std::current_exception());
  };
  try {
    run(
        [&] {
          get_event_loop().set_exception_handler(
              [&](EventLoop&, const ExceptionContext& context) { outcome.told.tell(context.exception); });
          with_timeout(5s, [&] { program.run(outcome.told); });
        },
        {.loop = {.selector = selector}, .drain = 1s});
  } catch (const TimeoutError& error) {
    note(error);
    outcome.is_hang = true;
  } catch (const std::exception& error) {
    note(error);
  }
  return outcome;
}

enum class Notice { nobody, of_this_error, of_some_error };

/// The program with calls number `first` to `first + times - 1` of `call` failing; how many did.
int suffer(const Program& program, SelectorKind selector, const FaultyCall& call, int error, Notice notice, int first,
           int times) {
  const std::size_t fds = open_fd_count();
  Faults::arm(call.name, error, first, times);
  const TortureOutcome outcome = attempt(program, selector);
  INFO(call.name << " from number " << first << " on, " << times << " times: "
                 << (error == cut_short ? "cut short" : std::strerror(error)) << "; it ended: " << outcome.what);
  CHECK_FALSE(outcome.is_hang);
  CHECK(open_fd_count() == fds);
  if (outcome.what != "well") {
    CHECK(notice != Notice::nobody);
    if (notice == Notice::of_this_error) CHECK(outcome.told.is(error));
    if (notice == Notice::of_some_error) CHECK(outcome.told.count() > 0);
  }
  return Faults::committed;
}

/// Each of `count` calls fails alone, and then many in a row.
int torture(const Program& program, SelectorKind selector, const FaultyCall& call, int count, int error,
            Notice notice) {
  constexpr int some = 6, all = 1'000'000;
  int committed = 0;
  if (error != ENOSYS)  // a system has a call or has it not
    for (int first = 0; first < count; ++first) committed += suffer(program, selector, call, error, notice, first, 1);
  if (call.name == "accept4" && notice != Notice::nobody) return committed;  // a server goes on trying
  const int times = notice == Notice::nobody && error != ENOSYS ? some : all;
  return committed + suffer(program, selector, call, error, notice, 0, times);
}

/// A server that cannot accept pauses for a second.  Each error of that kind comes once, each in another program.
bool is_too_slow(std::size_t program, SelectorKind selector, const FaultyCall& call, std::size_t error) {
  return call.name == "accept4" && (selector != SelectorKind::epoll || program != error);
}

}  // namespace

TEST_CASE("torture: whichever call fails in whichever way, all arrives or somebody is told, without a leak or a hang") {
  const auto selector = any_selector();
  const Watchdog watchdog(600);
  run([] {});  // what signals need stays with the process
  const Faults faults;
  int committed = 0;
  for (std::size_t number = 0; number < std::size(programs); ++number) {
    const Program& program = programs[number];
    INFO(program.name);
    Faults::arm("", 0, 0, 0);
    const TortureOutcome dry = attempt(program, selector);
    REQUIRE(dry.what == "well");
    REQUIRE(dry.told.count() == 0);
    std::vector<std::pair<const FaultyCall*, int>> calls;
    for (const FaultyCall& call : Faults::catalogue())
      if (const int count = Faults::count(call.name); count > 0) calls.emplace_back(&call, count);
    for (const auto& [call, count] : calls) {
      for (const int error : call->invisible)
        committed += torture(program, selector, *call, count, error, Notice::nobody);
      for (std::size_t i = 0; i < call->errors.size(); ++i)
        if (!is_too_slow(number, selector, *call, i))
          committed += torture(program, selector, *call, count, call->errors[i], Notice::of_this_error);
      for (const int error : call->vague)
        committed += torture(program, selector, *call, count, error, Notice::of_some_error);
    }
  }
  std::printf("torture: %d faults\n", committed);
  CHECK(committed > 500);
}
