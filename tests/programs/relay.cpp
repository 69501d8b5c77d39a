// relay: moves bytes between connections and themselves (an echo), or between a connection and stdin and stdout, which
// are pipes, for the scripts of tests/integration.  Once with streams and once with protocols.
//
// usage: relay stream|protocol serve|connect PORT|unix:PATH [SEED]
// With a seed, how much is moved at once and where it pauses are left to chance.
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

using namespace tulp;

namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

struct Options {
  std::string form;
  std::string role;
  std::string unix_path;  // instead of a port
  std::uint16_t port = 0;
  unsigned seed = 0;  // none
};

/// How much at once, and how long to pause after that.
class Pace {
 public:
  explicit Pace(unsigned seed) : is_random_(seed != 0), random_(seed) {}

  std::size_t next_size() {
    if (!is_random_) return buffer_bytes;
    constexpr std::size_t most[] = {1, 1, 10, 100, 5'000, buffer_bytes};
    return 1 + random_() % most[random_() % std::size(most)];
  }
  Duration next_pause() {
    return is_random_ && random_() % 16 == 0 ? std::chrono::microseconds(random_() % 500) : Duration::zero();
  }

 private:
  bool is_random_;
  std::minstd_rand random_;
};

/// A seed for each connection; none from none.
unsigned next_seed(unsigned& seed) { return seed == 0 ? 0 : seed++; }

// Streams: a task for each direction.

void move_bytes(StreamReader& reader, StreamWriter& writer, Pace pace) {
  const auto memory = std::make_unique_for_overwrite<char[]>(buffer_bytes);
  while (const std::size_t size = reader.read_into({memory.get(), pace.next_size()})) {
    writer.write({memory.get(), size});
    if (const Duration pause = pace.next_pause(); pause > Duration::zero()) sleep(pause);
  }
  writer.write_eof();
}

void echo_stream(StreamReader reader, StreamWriter writer, Pace pace) {
  try {
    move_bytes(reader, writer, pace);
    writer.close();
    writer.wait_closed();  // or nobody would hear that the last bytes were not sent
  } catch (const ConnectionError& error) {
    std::cerr << "relay: " << error.what() << std::endl;
  }
}

void relay_streams(Streams connection, unsigned seed) {
  // Shared, because one direction may fail while the other goes on.
  const auto socket = std::make_shared<Streams>(std::move(connection));
  auto sending = create_task([socket, seed]() -> std::exception_ptr {
    try {
      StreamReader input = open_read_pipe(0);
      move_bytes(input, socket->writer, Pace(seed));
      return nullptr;
    } catch (const OsError&) {
      return std::current_exception();  // nothing that an error of the other direction would not say too
    }
  });
  StreamWriter output = open_write_pipe(1);  // unlike open_stdout() lets go of it at the end
  move_bytes(socket->reader, output, Pace(seed));
  output.close();
  output.wait_closed();
  if (const std::exception_ptr error = await(sending)) std::rethrow_exception(error);
}

// Protocols: what one end receives, another one sends.

class End : public Protocol, public std::enable_shared_from_this<End> {
 public:
  explicit End(unsigned seed) : pace_(seed) {}

  void leads_to(End& to) {
    to_ = &to;
    to.from_ = this;
  }
  std::function<void(std::exception_ptr)> on_lost = [](auto) {};

  void connection_made(std::shared_ptr<Transport> transport) override { transport_ = std::move(transport); }
  void data_received(std::string_view data) override {
    while (!data.empty() && to_->transport_ && !to_->transport_->is_closing()) {
      const std::string_view piece = data.substr(0, pace_.next_size());
      to_->transport_->write(piece);
      data.remove_prefix(piece.size());
    }
    const Duration pause = pace_.next_pause();
    if (pause == Duration::zero()) return;
    hold();
    get_event_loop().call_later(pause, [alive = shared_from_this()] { alive->let_go(); });
  }
  bool eof_received() override {
    if (to_->transport_) {
      to_->transport_->write_eof();
      to_->end_half();
    }
    end_half();
    return true;
  }
  void pause_writing() override { from_->hold(); }
  void resume_writing() override { from_->let_go(); }
  void connection_lost(std::exception_ptr error) override {
    transport_ = nullptr;
    on_lost(std::move(error));
  }

 private:
  /// Does not read while somebody holds it.
  void hold() {
    if (++holds_ == 1 && transport_) transport_->pause_reading();
  }
  void let_go() {
    if (--holds_ == 0 && transport_) transport_->resume_reading();
  }
  void end_half() {
    if (++ended_halves_ == 2) transport_->close();
  }

  Pace pace_;
  std::shared_ptr<Transport> transport_;
  End* to_ = nullptr;
  End* from_ = nullptr;
  int holds_ = 0;
  int ended_halves_ = 0;
};

std::shared_ptr<End> make_echo(unsigned seed) {
  auto end = std::make_shared<End>(seed);
  end->leads_to(*end);
  end->on_lost = [](std::exception_ptr error) {
    if (error) std::cerr << "relay: a connection was lost" << std::endl;
  };
  return end;
}

/// stdin to a connection and back to stdout.  Outlives the loop, which may call the ends until it closes.
class ProtocolRelay {
 public:
  void run(const Options& options) {
    EventLoop& loop = get_event_loop();
    over_.emplace();
    input_ = std::make_shared<End>(options.seed);
    socket_ = std::make_shared<End>(options.seed);
    output_ = std::make_shared<End>(0);
    input_->leads_to(*socket_);
    socket_->leads_to(*output_);
    socket_->on_lost = output_->on_lost = [this](std::exception_ptr error) { end_one(std::move(error)); };
    await(loop.connect_write_pipe([this] { return output_; }, 1));
    if (options.unix_path.empty())
      await(loop.create_connection([this] { return socket_; }, "127.0.0.1", options.port));
    else
      await(loop.create_unix_connection([this] { return socket_; }, options.unix_path));
    await(loop.connect_read_pipe([this] { return input_; }, 0));
    await(*over_);
  }

 private:
  void end_one(std::exception_ptr error) {
    if (over_->done()) return;
    if (error)
      over_->set_exception(std::move(error));
    else if (++ended_ == 2)
      over_->set_result();
  }

  std::optional<Future<>> over_;
  std::shared_ptr<End> input_, socket_, output_;
  int ended_ = 0;
};

// The command line.

Server serve_streams(const Options& options) {
  auto handler = [seed = options.seed](StreamReader reader, StreamWriter writer) mutable {
    echo_stream(std::move(reader), std::move(writer), Pace(next_seed(seed)));
  };
  return options.unix_path.empty() ? start_server(handler, "127.0.0.1", options.port)
                                   : start_unix_server(handler, options.unix_path);
}

Server serve_protocols(const Options& options) {
  auto factory = [seed = options.seed]() mutable { return make_echo(next_seed(seed)); };
  EventLoop& loop = get_event_loop();
  return await(options.unix_path.empty() ? loop.create_server(factory, "127.0.0.1", options.port)
                                         : loop.create_unix_server(factory, options.unix_path));
}

void relay(const Options& options, ProtocolRelay& protocols) {
  const bool is_stream = options.form == "stream";
  if (options.role == "serve") {
    Server server = is_stream ? serve_streams(options) : serve_protocols(options);
    std::cout << "listening on " << server.addresses().front() << std::endl;
    server.serve_forever();
  } else if (is_stream) {
    relay_streams(options.unix_path.empty() ? open_connection("127.0.0.1", options.port)
                                            : open_unix_connection(options.unix_path),
                  options.seed);
  } else {
    protocols.run(options);
  }
}

Options parse(int count, char** arguments) {
  if (count < 4) throw std::invalid_argument("usage: relay stream|protocol serve|connect PORT|unix:PATH [SEED]");
  Options options;
  options.form = arguments[1];
  options.role = arguments[2];
  if (const std::string where = arguments[3]; where.starts_with("unix:"))
    options.unix_path = where.substr(5);
  else
    options.port = static_cast<std::uint16_t>(std::stoi(where));
  if (count > 4) options.seed = static_cast<unsigned>(std::stoul(arguments[4]));
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  ProtocolRelay protocols;
  return run_main([&] { relay(parse(count, arguments), protocols); }, {.drain = std::chrono::minutes(1)});
}
