// tulp nc: joins standard input and output to a connection, made or awaited.
#include <netdb.h>

#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "connecting.hpp"
#include "nc/conversation.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "tls.hpp"
#include "unix_name.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

struct Ports {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
};

struct NcSettings {
  std::vector<std::string> where;  // [HOST] PORT
  std::optional<std::uint16_t> port;
  std::string unix_path;  // instead of them
  std::string host;
  Ports ports;
  bool listens = false, keeps_listening = false, is_udp = false, only_looks = false, is_verbose = false;
  bool tells_end = false, is_numeric = false, is_ipv4 = false, is_ipv6 = false, is_tls = false;
  double limit_seconds = 0;
  std::string server_name;
  ClientTls client_tls;
  ServerTls server_tls;

  int family() const { return is_ipv4 ? AF_INET : is_ipv6 ? AF_INET6 : AF_UNSPEC; }
  tulp::Duration limit() const {
    if (limit_seconds == 0) return tulp::Duration::max();
    return std::chrono::duration<double>(limit_seconds);
  }
};

void say(const std::string& what) { complain("tulp nc", what); }

void say_where(const std::vector<tulp::Address>& addresses, const NcSettings& settings) {
  const bool is_asked_for = settings.is_verbose || (settings.ports.first == 0 && settings.unix_path.empty());
  for (const tulp::Address& address : addresses)
    if (is_asked_for) say("listening on " + address.to_string());
}

/// "TLSv1.3, TLS_AES_256_GCM_SHA384", where it is spoken.
std::string security_of(const tulp::StreamWriter& writer) {
  const auto version = writer.get_extra_info<std::string>("version");
  if (!version) return "";
  return ", " + *version + ", " + writer.get_extra_info<std::string>("cipher").value_or("");
}

// Connecting.

std::string place_of(const NcSettings& settings, std::uint16_t port) {
  if (!settings.unix_path.empty()) return "unix:" + settings.unix_path;
  const bool is_ipv6 = settings.host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + settings.host + "]" : settings.host) + ":" + std::to_string(port);
}

tulp::Streams connect(NcSettings& settings, std::uint16_t port) {
  tulp::ConnectOptions options{
      .family = settings.family(), .flags = settings.is_numeric ? AI_NUMERICHOST : 0, .ssl_shutdown_timeout = 2s};
  if (settings.is_tls) {
    options.ssl = settings.client_tls.context();
    if (!settings.limit().is_never()) options.ssl_handshake_timeout = settings.limit();
    if (!settings.server_name.empty()) options.server_hostname = settings.server_name;
  }
  const auto open = [&] {
    if (!settings.unix_path.empty()) return tulp::open_unix_connection(unix_name(settings.unix_path), options);
    return tulp::open_connection(settings.host, port, options);
  };
  return connecting([&] { return tulp::with_timeout(settings.limit(), open); },
                    "connecting to " + place_of(settings, port) + " timed out after " + in_time(settings.limit()));
}

tulp::DatagramSocket connect_datagrams(const NcSettings& settings, std::uint16_t port) {
  return connecting([&] {
    return tulp::open_datagram_socket({.remote_addr = {settings.host, port}, .family = settings.family()});
  });
}

/// Nobody answers to a datagram that has arrived; that it has not is told at once, or never.
void probe_datagrams(const NcSettings& settings, std::uint16_t port) {
  tulp::DatagramSocket socket = connect_datagrams(settings, port);
  socket.set_read_timeout(std::min<tulp::Duration>(settings.limit(), 1s));
  try {
    connecting([&] {
      socket.sendto("X");
      return socket.recvfrom();
    });
  } catch (const Failure& failure) {
    if (failure.code() != ExitCode::timed_out) throw;
  }
}

/// -z.  A port that is closed is an answer, not an error to speak about.
ExitCode look(NcSettings& settings) {
  ExitCode code = ExitCode::failed;
  bool is_any_open = false;
  for (unsigned port = settings.ports.first; port <= settings.ports.last; ++port) {
    const auto number = static_cast<std::uint16_t>(port);
    try {
      settings.is_udp ? probe_datagrams(settings, number) : void(connect(settings, number));
      is_any_open = true;
      if (settings.is_verbose) say(place_of(settings, number) + " is open");
    } catch (const Failure& failure) {
      code = failure.code();
      if (settings.is_verbose) say(failure.what());
    }
  }
  return is_any_open ? ExitCode::ok : code;
}

void talk_to_server(NcSettings& settings, nc::Conversation& conversation) {
  if (settings.is_udp) {
    tulp::DatagramSocket socket = connect_datagrams(settings, settings.ports.first);
    return conversation.hold(socket, std::nullopt, false);
  }
  tulp::Streams server = connect(settings, settings.ports.first);
  if (settings.is_verbose)
    say("connected to " + server.writer.get_extra_info<tulp::Address>("peername")->to_string() +
        security_of(server.writer));
  conversation.hold(server);
}

// Listening.

void answer_datagrams(const NcSettings& settings, nc::Conversation& conversation) {
  tulp::DatagramSocket socket =
      tulp::open_datagram_socket({.local_addr = {settings.host, settings.ports.first}, .family = settings.family()});
  say_where({*socket.get_extra_info<tulp::Address>("sockname")}, settings);
  const tulp::Datagram first = socket.recvfrom();
  if (settings.is_verbose) say("a datagram from " + first.address.to_string());
  conversation.print(first.data);
  conversation.hold(socket, first.address, settings.keeps_listening);
}

using Clients = tulp::Queue<tulp::Streams>;

/// While one is talked to; each holds a descriptor.
constexpr std::size_t most_waiting = 100;

tulp::Server start(const NcSettings& settings, const std::shared_ptr<Clients>& clients) {
  tulp::ServerOptions options{
      .family = settings.family(), .ssl = settings.server_tls.context(), .ssl_shutdown_timeout = 2s};
  const auto queue = [clients](tulp::StreamReader reader, tulp::StreamWriter writer) {
    if (clients->qsize() < most_waiting) return clients->put_nowait({std::move(reader), std::move(writer)});
    say("refused a connection: " + std::to_string(most_waiting) + " are waiting");
    writer.transport().abort();
  };
  if (!settings.unix_path.empty()) return tulp::start_unix_server(queue, unix_name(settings.unix_path), options);
  return tulp::start_server(queue, settings.host, settings.ports.first, options);
}

/// One client after another; the next one waits.
void answer_clients(const NcSettings& settings, nc::Conversation& conversation) {
  const auto clients = std::make_shared<Clients>();
  tulp::Server server = start(settings, clients);
  say_where(server.addresses(), settings);
  do {
    tulp::Streams client = clients->get();
    if (!settings.keeps_listening) server.close();
    if (settings.is_verbose)
      say("connection from " + client.writer.get_extra_info<tulp::Address>("peername")->to_string() +
          security_of(client.writer));
    try {
      conversation.hold(client);
    } catch (const WriteError&) {
      throw;
    } catch (const Failure& failure) {
      if (!settings.keeps_listening) throw;
      say(failure.what());
    }
  } while (settings.keeps_listening);
}

ExitCode run(NcSettings& settings) {
  if (settings.only_looks) return look(settings);
  nc::Conversation conversation(
      {.tells_end = settings.tells_end, .ends_with_peer = settings.listens, .idle_limit = settings.limit()});
  if (!settings.listens)
    talk_to_server(settings, conversation);
  else if (settings.is_udp)
    answer_datagrams(settings, conversation);
  else
    answer_clients(settings, conversation);
  conversation.finish();
  return ExitCode::ok;
}

// The command line.

/// "80", or with -z "20-25".
Ports parse_ports(const std::string& text, bool may_be_range) {
  const auto number = [&](std::string_view digits) {
    std::uint16_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
      throw CLI::ValidationError("PORT: " + text + " is no port", CLI::ExitCodes::ValidationError);
    return value;
  };
  const std::size_t dash = may_be_range ? text.find('-') : std::string::npos;
  if (dash == std::string::npos) return {number(text), number(text)};
  const Ports ports{number(text.substr(0, dash)), number(text.substr(dash + 1))};
  if (ports.first > ports.last)
    throw CLI::ValidationError("PORT: " + text + " goes backwards", CLI::ExitCodes::ValidationError);
  return ports;
}

[[noreturn]] void refuse(const std::string& what) { throw CLI::ValidationError(what, CLI::ExitCodes::ValidationError); }

/// What the options mean together.
void check(NcSettings& settings) {
  if (settings.listens && settings.only_looks) refuse("-z and -l exclude each other");
  if (settings.keeps_listening && !settings.listens) refuse("-k is for -l");
  if (settings.port && !settings.listens) refuse("-p is for -l");
  if (settings.is_tls && settings.listens) refuse("--tls connects; -l takes --tls-cert");
  if (settings.server_tls.is_wanted() && !settings.listens) refuse("--tls-cert is for -l");
  if (settings.is_tls && !settings.unix_path.empty() && settings.server_name.empty() &&
      !settings.client_tls.is_insecure())
    refuse("--tls over --unix needs --server-name");
  if (!settings.unix_path.empty()) {
    if (!settings.where.empty() || settings.port) refuse("--unix takes neither HOST nor PORT");
    return;
  }
  if (settings.port) settings.where.push_back(std::to_string(*settings.port));
  const std::size_t least = settings.listens ? 1 : 2;
  if (settings.where.size() < least) throw CLI::RequiredError(settings.listens ? "PORT" : "HOST and PORT");
  if (settings.where.size() > 2) refuse("there is more than HOST and PORT");
  settings.ports = parse_ports(settings.where.back(), settings.only_looks);
  if (settings.where.size() == 2) settings.host = settings.where.front();
  if (settings.host.empty() && !settings.listens) refuse("HOST is empty");
  if (settings.ports.first == 0 && !settings.listens) refuse("PORT: 0 is for -l, which takes a free one then");
}

constexpr const char* nc_help = R"(Examples: tulp nc example.org 80
          tulp nc -l 7000 > file       and elsewhere: tulp nc -N host 7000 < file
          tulp nc --tls example.org 443
          tulp nc -zv localhost 20-25

Without -N the peer does not hear that standard input has ended, and tulp waits for the peer's end.  When
the peer ends first, a terminal is not waited for, and with -l no pipe either; what is left of a file is
sent all the same.

Exit codes:
   0  the conversation is over, also because nobody has said anything for as long as -w says; with -z: a port is open
   1  something else failed, such as reading standard input
   2  bad arguments
   6  the host's name has no address
   7  could not connect, or a datagram was refused
  23  the output could not be written
  28  connecting took longer than -w says
  35  the TLS handshake failed
  55  sending failed
  56  receiving failed: the peer has broken the connection
  58  the own certificate or its key cannot be used
  60  the server's certificate is not to be trusted
  77  the file given with --cacert or --crlfile cannot be used
 130  interrupted (Ctrl-C); 143: terminated)";

}  // namespace

void add_nc(CLI::App& app, Command& chosen) {
  const auto settings = std::make_shared<NcSettings>();
  CLI::App* nc = app.add_subcommand("nc", "Join standard input and output to a connection: netcat");
  nc->add_option("WHERE", settings->where,
                 "HOST PORT; with -l PORT, and perhaps the HOST before it whose address is taken");
  nc->add_flag("-l,--listen", settings->listens, "Wait for a connection, and print the port if it is given as 0");
  nc->add_option("-p,--port", settings->port, "The port of -l, as other netcats want it")->type_name("PORT");
  nc->add_flag("-k,--keep-open", settings->keeps_listening,
               "With -l: wait for another one when one has ended; up to 100 may wait meanwhile");
  CLI::Option* unix_path =
      nc->add_option("-U,--unix", settings->unix_path, "A Unix socket instead; @NAME is an abstract one")
          ->type_name("PATH")
          ->check(check_unix_name);
  CLI::Option* udp =
      nc->add_flag("-u,--udp", settings->is_udp, "Datagrams instead of a connection")->excludes(unix_path);
  nc->add_flag("-N,--shut-down", settings->tells_end, "Tell the peer when standard input has ended");
  nc->add_option("-w,--timeout", settings->limit_seconds,
                 "How long connecting may take, and then how long nobody may say anything")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 1e9));
  CLI::Option* zero = nc->add_flag("-z,--zero", settings->only_looks,
                                   "Only look whether somebody listens; PORT may be a range such as 20-25");
  nc->add_flag("-v,--verbose", settings->is_verbose, "Say on stderr what happens");
  nc->add_flag("-n,--numeric", settings->is_numeric, "HOST is an address, and no name is looked up");
  CLI::Option* ipv4 = nc->add_flag("-4", settings->is_ipv4, "IPv4 only");
  nc->add_flag("-6", settings->is_ipv6, "IPv6 only")->excludes(ipv4);
  CLI::Option* tls = nc->add_flag("-c,--tls", settings->is_tls, "Speak TLS")->excludes(udp);
  nc->add_option("--server-name", settings->server_name, "Whom the server's certificate must be for, if not HOST")
      ->type_name("NAME")
      ->needs(tls);
  settings->client_tls.add_options(*nc, "--insecure");
  for (const char* name : ClientTls::names) nc->get_option(name)->needs(tls);
  settings->server_tls.add_options(*nc);
  nc->get_option("--tls-cert")->excludes(udp)->excludes(zero);
  nc->footer(nc_help);
  nc->callback([&chosen, settings] {
    check(*settings);
    chosen = [settings] { return run(*settings); };
  });
}

}  // namespace tool
