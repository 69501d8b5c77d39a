// What the tools end with, and the error that carries it.
#pragma once
#include <stdexcept>
#include <string>

namespace tool {

/// curl's numbers where curl has one; exit_code_table() is what --help says.
enum class ExitCode : int {
  ok = 0,
  failed = 1,
  unsupported_scheme = 1,
  bad_arguments = 2,
  malformed_url = 3,
  unknown_host = 6,
  not_connected = 7,
  weird_reply = 8,
  partial_body = 18,
  http_error = 22,
  write_error = 23,
  read_error = 26,
  timed_out = 28,
  range_error = 33,
  tls_failed = 35,
  too_many_redirects = 47,
  empty_reply = 52,
  send_error = 55,
  receive_error = 56,
  bad_certificate_file = 58,
  not_trusted = 60,
  too_large = 63,
  bad_ca_file = 77,
};

constexpr const char* exit_code_table = R"(Exit codes, as curl's:
   0  all went well
   1  the URL's scheme is not supported, or something else failed
   2  bad arguments
   3  malformed URL
   6  the host's name has no address
   7  could not connect
   8  the server's reply is not HTTP, or too large where it must be small
  18  the connection ended before the body was complete
  22  the server answered with 400 or more, and --fail or -C was given
  23  the output could not be written
  26  a file to send could not be read
  28  the time given was over
  33  the server does not go on where -C wants it to
  35  the TLS handshake failed
  47  too many redirects
  52  the server closed the connection without a reply
  55  sending failed
  56  receiving failed
  58  the own certificate or its key cannot be used
  60  the server's certificate is not to be trusted
  63  more than --max-size
  77  the file given with --cacert or --crlfile cannot be used
 130  interrupted (Ctrl-C); 143: terminated)";

/// A failure of which one line and an exit code tell everything.
class Failure : public std::runtime_error {
 public:
  Failure(ExitCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

}  // namespace tool
