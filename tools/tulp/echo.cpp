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
#include "unix_name.hpp"

namespace tool {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

struct EchoOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string unix_path;  // instead of host and port
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

tulp::Server start(const EchoOptions& options) {
  if (!options.unix_path.empty()) return tulp::start_unix_server(serve, unix_name(options.unix_path));
  return tulp::start_server(serve, options.host, options.port);
}

ExitCode run(const EchoOptions& options) {
  tulp::Server server = start(options);
  for (const tulp::Address& address : server.addresses()) {
    write_all(1, "listening on " + address.to_string() + "\n", "stdout");
  }
  server.serve_forever();
  return ExitCode::ok;
}

}  // namespace

void add_echo(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<EchoOptions>();
  CLI::App* echo = app.add_subcommand("echo", "Send everything back to where it came from");
  CLI::Option* port =
      echo->add_option("-p,--port", options->port, "Where to listen; 0 takes a free port and prints it");
  CLI::Option* host =
      echo->add_option("--host", options->host, "The address to listen on; '' is all there are")->capture_default_str();
  CLI::Option* unix_path =
      echo->add_option("--unix", options->unix_path, "Listen on a Unix socket instead; @NAME is an abstract one")
          ->check(check_unix_name);
  unix_path->excludes(port)->excludes(host);
  echo->footer(
      "Examples: tulp echo --port 7000       and elsewhere: nc localhost 7000\n"
      "          tulp echo --unix /tmp/echo  and elsewhere: nc -U /tmp/echo");
  echo->callback([&chosen, options, port, unix_path] {
    if (port->count() + unix_path->count() == 0) throw CLI::RequiredError("--port or --unix");
    chosen = [options] { return run(*options); };
  });
}

}  // namespace tool
