// Url: where a resource is.  Syntax and references as in RFC 3986; the tools know http and https.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace tool::http {

enum class Scheme { http, https };

/// A URL that has been checked.  Its fragment is gone, since no server is told of it.
struct Url {
  Scheme scheme = Scheme::http;
  std::string host;  ///< As open_connection() takes it: an IPv6 address stands without brackets.
  std::uint16_t port = 80;
  std::string target = "/";  ///< Path and query, as a request names them.

  /// "example.org", "example.org:8080" or "[::1]:8080": what the Host field says.  A zone is nobody else's business.
  std::string authority() const;
  /// Scheme, host and port: whose URLs one connection serves.
  std::string origin() const;
  std::string to_string() const;
};

/// Percent-encoding is left as it is; bytes above ASCII are encoded, as browsers do.
/// Throws: Failure - malformed_url, or unsupported_scheme.
Url parse_url(std::string_view text);

/// What `reference`, found in a page or a redirect of `base`, means: RFC 3986 section 5.2.  Throws: as parse_url().
Url resolve(const Url& base, std::string_view reference);

}  // namespace tool::http
