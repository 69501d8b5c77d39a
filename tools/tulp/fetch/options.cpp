#include "fetch/options.hpp"

#include <sys/socket.h>
#include <tulp/stream.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <string_view>

#include "exit_code.hpp"
#include "output.hpp"
#include "unix_name.hpp"

namespace tool::fetch {
namespace {

using Text = const std::string&;

std::string check_seconds(Text text) {
  double seconds = 0;
  const bool is_number = CLI::detail::lexical_cast(text, seconds);
  return is_number && seconds > 0 ? "" : "must be a number of seconds above 0";
}

/// In place: "20M" becomes the number.
std::string to_bytes(std::string& text) {
  const bool is_number = !text.empty() && text.front() >= '0' && text.front() <= '9';  // CLI11 would take "-1" too
  return is_number ? CLI::AsSizeValue(false)(text) : "must be a number of bytes, as 5000 or 20M";
}

/// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
  static constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           marks.find(c) != std::string_view::npos;
  });
}

std::string check_method(Text method) {
  if (!is_token(method)) return "is no method of HTTP";
  return method == "CONNECT" ? "is not supported" : "";
}

http::Field split_header(Text header) {
  const std::size_t colon = header.find(':');
  const std::size_t begin = std::min(header.find_first_not_of(" \t", colon + 1), header.size());
  const std::size_t end = header.find_last_not_of(" \t") + 1;
  return {header.substr(0, colon), header.substr(begin, std::max(begin, end) - begin)};
}

/// What could end the header early, and what would contradict our own words, must not be in it.
std::string check_header(Text header) {
  const std::size_t colon = header.find(':');
  if (colon == std::string::npos) return "must be 'NAME: VALUE'";
  const http::Field field = split_header(header);
  if (!is_token(field.name)) return "has a name that is none";
  const bool is_clean =
      std::none_of(header.begin(), header.end(), [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; });
  if (!is_clean) return "has a line end or a control character in it";
  for (const char* own : {"Content-Length", "Transfer-Encoding"}) {
    if (http::is_same_name(field.name, own)) return std::string(own) + " is not for you to say";
  }
  return "";
}

std::string check_offset(Text offset) { return offset == "-" ? "" : "takes '-' alone: where the file ends"; }

/// What stands behind the last '/' of the path; as it is, since "%2F" decoded would lead out of the folder.
std::string remote_name(Text url) {
  const std::string path = url.substr(0, url.find_first_of("?#"));
  const std::size_t authority = path.find("://");
  const std::size_t slash = path.rfind('/');
  if (authority == std::string::npos || slash < authority + 3) return "";
  const std::string name = path.substr(slash + 1);
  return name == "." || name == ".." ? "" : name;
}

[[noreturn]] void refuse(const char* option, const std::string& why) { throw CLI::ValidationError(option, why); }

void check_outputs(const Options& options) {
  std::set<std::string> names;
  for (const std::string& name : options.outputs) {
    if (name != "-" && !is_special_file(name) && !names.insert(name).second) {
      refuse("--output", "two URLs would be written to " + name);
    }
  }
}

std::string read_file(Text name) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "rbe"), std::fclose);
  std::string data;
  char piece[64 * 1024];
  while (file) {
    const std::size_t size = std::fread(piece, 1, sizeof piece, file.get());
    if (size == 0) break;
    data.append(piece, size);
  }
  if (!file || std::ferror(file.get()) != 0) throw Failure(ExitCode::read_error, name + ": " + std::strerror(errno));
  return data;
}

std::string read(Text argument, bool is_binary) {
  if (!argument.starts_with('@')) return argument;
  std::string data = argument == "@-" ? tulp::open_stdin().read() : read_file(argument.substr(1));
  if (!is_binary) std::erase_if(data, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
  return data;
}

}  // namespace

void add_options(CLI::App& command, Options& options) {
  const auto set_family = [&options](int family) { return [&options, family] { options.via.family = family; }; };

  command.add_option("URL", options.urls, "What to fetch; several are printed in this order")->required();
  CLI::Option* output = command
                            .add_option("-o,--output", options.outputs,
                                        "The file to write, which appears when it is complete; one for each URL")
                            ->type_name("FILE");
  CLI::Option* remote_name =
      command.add_flag("-O,--remote-name", options.uses_remote_names, "Write to files named as in the URLs, here");
  CLI::Option* resume = command
                            .add_option_function<std::string>(
                                "-C,--continue-at", [&options](Text) { options.resumes = true; },
                                "'-': go on where the file ends that an earlier -C left; what comes stays")
                            ->type_name("-")
                            ->check(check_offset);
  CLI::Option* include =
      command.add_flag("-i,--include", options.includes_heads, "Print the headers of the replies too");
  CLI::Option* head = command.add_flag("-I,--head", options.wants_head_only, "Ask for the headers alone (HEAD)");
  CLI::Option* method =
      command.add_option("-X,--request", options.method, "The method: PUT, DELETE, ...")->type_name("METHOD");
  method->check(check_method);
  command
      .add_option("-H,--header", options.headers,
                  "'NAME: VALUE' to send, instead of our own of that name; 'NAME:' leaves that out")
      ->type_name("HEADER")
      ->check(check_header)
      ->allow_extra_args(false);
  CLI::Option* data =
      command
          .add_option("-d,--data", options.texts,
                      "What to send, as a form does (POST); @FILE: what is in it, without line ends; @-: stdin")
          ->type_name("DATA");
  CLI::Option* binary = command.add_option("--data-binary", options.binaries, "As --data, but a file is sent as it is")
                            ->type_name("DATA");
  command.add_flag("-f,--fail", options.fails_on_errors, "An answer of 400 or more is an error, and is not printed");
  command
      .add_option("--timeout,-m,--max-time", options.timeout_seconds,
                  "How many seconds each URL may take in all, as 2.5")
      ->check(check_seconds);
  command
      .add_option_function<double>(
          "--connect-timeout",
          [&options](double seconds) { options.via.connect_timeout = std::chrono::duration<double>(seconds); },
          "How many seconds connecting may take")
      ->default_str("60")
      ->check(check_seconds);
  command
      .add_option("--max-size,--max-filesize", options.max_bytes, "How large a body may be, in bytes, as 5000 or 20M")
      ->type_name("BYTES")
      ->transform(CLI::Validator(to_bytes, ""));
  command.add_option("--max-redirs", options.max_redirects, "How many redirects are followed")->capture_default_str();
  command.add_option("-j,--jobs,--parallel-max", options.job_count, "How many URLs are fetched at a time")
      ->check(CLI::Range(1, 1000).description(""))
      ->capture_default_str();
  CLI::Option* unix_socket =
      command
          .add_option_function<std::string>(
              "--unix-socket", [&options](Text path) { options.via.unix_socket = unix_name(path); },
              "Connect to this Unix socket instead of the URL's host; @NAME is an abstract one")
          ->type_name("PATH")
          ->check(check_unix_name);
  CLI::Option* ipv4 = command.add_flag_callback("-4,--ipv4", set_family(AF_INET), "Use IPv4 addresses only");
  CLI::Option* ipv6 = command.add_flag_callback("-6,--ipv6", set_family(AF_INET6), "Use IPv6 addresses only");
  options.via.tls->add_options(command);
  command.add_flag("-s,--silent", options.is_silent, "Show no progress");
  for (const char* habit : {"-L,--location", "-S,--show-error"}) command.add_flag(habit)->group("");

  for (CLI::Option* many : {output, data, binary}) many->allow_extra_args(false);
  ipv4->excludes(ipv6)->excludes(unix_socket);
  ipv6->excludes(unix_socket);
  output->excludes(remote_name);
  head->excludes(data)->excludes(binary);
  resume->excludes(include)->excludes(head)->excludes(method)->excludes(data)->excludes(binary);
}

void complete(Options& options) {
  if (options.uses_remote_names) {
    std::transform(options.urls.begin(), options.urls.end(), std::back_inserter(options.outputs), remote_name);
    const auto nameless = std::find(options.outputs.begin(), options.outputs.end(), "") - options.outputs.begin();
    if (nameless < std::ssize(options.outputs)) {
      refuse("--remote-name", options.urls[static_cast<std::size_t>(nameless)] + " has no file name; -o gives one");
    }
  }
  if (options.outputs.empty() || (options.outputs.size() == 1 && options.outputs.front() == "-")) {
    options.outputs.assign(options.urls.size(), "-");
  }
  if (options.outputs.size() != options.urls.size()) refuse("--output", "there must be one for each URL");
  check_outputs(options);
  if (options.resumes && std::count(options.outputs.begin(), options.outputs.end(), "-") > 0) {
    refuse("--continue-at", "needs a file: -o or -O");
  }
  const bool says_range = std::any_of(options.headers.begin(), options.headers.end(), [](Text header) {
    return http::is_same_name(split_header(header).name, "Range");
  });
  if (options.resumes && says_range) refuse("--continue-at", "excludes a header Range");
}

http::Request request_of(const Options& options) {
  http::Request request;
  for (const std::string& header : options.headers) request.fields.push_back(split_header(header));
  const auto append = [&request](const std::string& data) {
    request.body = request.body ? *request.body + "&" + data : data;
  };
  for (const std::string& text : options.texts) append(read(text, false));
  for (const std::string& binary : options.binaries) append(read(binary, true));
  if (request.body) request.method = "POST";
  if (options.wants_head_only) request.method = "HEAD";
  if (!options.method.empty()) request.method = options.method;
  return request;
}

}  // namespace tool::fetch
