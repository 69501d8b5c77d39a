// tulp echo: sends everything back to where it came from.
#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "command.hpp"
#include "output.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

struct EchoOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
};

void send_back(tulp::StreamReader& reader, tulp::StreamWriter& writer) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(buffer_bytes);
  while (const std::size_t size = reader.read_into({buffer.get(), buffer_bytes})) writer.write({buffer.get(), size});
}

void serve(tulp::StreamReader reader, tulp::StreamWriter writer) {
  try {
    send_back(reader, writer);
  } catch (const tulp::ConnectionError& error) {
    complain("tulp echo", error.what());
  }
}

ExitCode run(const EchoOptions& options) {
  tulp::Server server = tulp::start_server(serve, options.host, options.port);
  for (const tulp::Address& address : server.addresses()) {
    write_all(1, "listening on " + address.to_string() + "\n", "stdout");
  }
  server.serve_forever();
  return ExitCode::ok;
}

}  // namespace

void add_echo(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<EchoOptions>();
  CLI::App* echo = app.add_subcommand("echo", "Send everything back to where it came from, over TCP");
  echo->add_option("-p,--port", options->port, "Where to listen; 0 takes a free port and prints it")->required();
  echo->add_option("--host", options->host, "The address to listen on; '' is all there are")->capture_default_str();
  echo->footer("Example: tulp echo --port 7000    and elsewhere: nc localhost 7000");
  echo->callback([&chosen, options] { chosen = [options] { return run(*options); }; });
}

}  // namespace tool
