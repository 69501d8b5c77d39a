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
#include "descriptor_limit.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "tls.hpp"
#include "unix_name.hpp"

namespace tool {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

struct EchoOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string unix_path;  // instead of host and port
  bool is_udp = false;
  ServerTls tls;
};

void send_back(tulp::StreamReader& reader, tulp::StreamWriter& writer) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(buffer_bytes);
  while (const std::size_t size = reader.read_into({buffer.get(), buffer_bytes})) writer.write({buffer.get(), size});
}

void serve(tulp::StreamReader reader, tulp::StreamWriter writer) {
  try {
    send_back(reader, writer);
    writer.close();
    writer.wait_closed();  // or nobody would hear that the last bytes were not sent
  } catch (const tulp::ConnectionError& error) {
    complain("tulp echo", error.what());
  } catch (const tulp::SslError& error) {
    complain("tulp echo", error.what());
  }
}

void say_where(const tulp::Address& address) { write_all(1, "listening on " + address.to_string() + "\n", "stdout"); }

tulp::Server start(const EchoOptions& options) {
  const tulp::ServerOptions server{.ssl = options.tls.context()};
  if (!options.unix_path.empty()) return tulp::start_unix_server(serve, unix_name(options.unix_path), server);
  return tulp::start_server(serve, options.host, options.port, server);
}

ExitCode serve_connections(const EchoOptions& options) {
  raise_descriptor_limit();
  tulp::Server server = start(options);
  for (const tulp::Address& address : server.addresses()) say_where(address);
  server.serve_forever();
  return ExitCode::ok;
}

ExitCode serve_datagrams(const EchoOptions& options) {
  tulp::DatagramSocket socket = tulp::open_datagram_socket({.local_addr = {options.host, options.port}});
  say_where(*socket.get_extra_info<tulp::Address>("sockname"));
  const auto buffer = std::make_unique_for_overwrite<char[]>(buffer_bytes);
  for (;;) {
    const auto received = socket.recvfrom_into({buffer.get(), buffer_bytes});
    try {
      socket.sendto({buffer.get(), received.size}, received.address);
    } catch (const tulp::OsError& error) {
      complain("tulp echo", error.what());
    }
  }
}

}  // namespace

void add_echo(CLI::App& app, Command& chosen) {
  const auto options = std::make_shared<EchoOptions>();
  CLI::App* echo = app.add_subcommand("echo", "Send everything back to where it came from");
  CLI::Option* port = echo->add_option("-p,--port", options->port, "Where to listen; 0 takes a free port and prints it")
                          ->type_name("PORT");
  CLI::Option* host =
      echo->add_option("--host", options->host, "The address to listen on; '' is all there are, with --udp all of IPv4")
          ->type_name("HOST")
          ->capture_default_str();
  CLI::Option* unix_path =
      echo->add_option("--unix", options->unix_path, "Listen on a Unix socket instead; @NAME is an abstract one")
          ->type_name("PATH")
          ->check(check_unix_name);
  CLI::Option* udp = echo->add_flag("-u,--udp", options->is_udp, "Datagrams instead of connections");
  options->tls.add_options(*echo);
  udp->excludes(echo->get_option("--tls-cert"));
  unix_path->excludes(udp)->excludes(port)->excludes(host);
  echo->footer(
      "Examples: tulp echo --port 7000       and elsewhere: nc localhost 7000\n"
      "          tulp echo --unix /tmp/echo  and elsewhere: nc -U /tmp/echo\n"
      "          tulp echo --port 7000 --tls-cert chain.pem --tls-key key.pem");
  echo->callback([&chosen, options, port, unix_path] {
    if (port->count() + unix_path->count() == 0) throw CLI::RequiredError("--port or --unix");
    chosen = [options] { return options->is_udp ? serve_datagrams(*options) : serve_connections(*options); };
  });
}

}  // namespace tool
