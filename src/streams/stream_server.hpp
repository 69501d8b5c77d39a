// The server of streams behind its public forms.  Floor 8, streams.
#pragma once
#include <tulp/stream.hpp>

#include <functional>
#include <memory>

#include "net/listen.hpp"
#include "streams/traffic.hpp"

namespace tulp::detail {

using StreamHandler = std::function<void(StreamReader, StreamWriter)>;

/// Listens on what `bind` gives, and counts in `traffic` if that is not null.  May park, as `bind` does.
Server open_stream_server(EventLoop& loop, StreamHandler handler, Bind bind, const ServerOptions& options,
                          const void* caller, std::shared_ptr<Traffic> traffic = nullptr);

}  // namespace tulp::detail
