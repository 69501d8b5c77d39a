// A small server of HTTP/1.1, for GET and HEAD: a task per connection, a callback per route.
#pragma once
#include <tulp/server.hpp>
#include <tulp/ssl_context.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "http/service.hpp"

namespace tool::http {

/// By path; one that ends with '/' stands for all below it too, if no longer one fits.
using Routes = std::map<std::string, Handler>;

/// Serves until the Server is closed.  With `ssl` it speaks https.  Parks and throws: as tulp::start_server().
tulp::Server start_server(Routes routes, std::string host, std::uint16_t port,
                          std::optional<tulp::SslContext> ssl = std::nullopt);

}  // namespace tool::http
