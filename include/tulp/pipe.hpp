// Pipes, FIFOs, terminals and other character devices as transports.  Floor 6, transports.
#pragma once
#include <tulp/transport.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {
/// Throws: std::invalid_argument - `fd` is neither a pipe nor a socket nor a character device.
Connector read_pipe_connector(int fd);
Connector write_pipe_connector(int fd);
}  // namespace detail

/// Joins the reading end of a pipe, a FIFO, a socket or a character device to a protocol.  The descriptor is made
/// non-blocking; it belongs to tulp from the call on, whatever becomes of it, unless that throws std::invalid_argument.
/// The end of the data is eof_received, then connection_lost(null), as is the other end's closing of a pseudo-terminal.
/// The transport cannot be written to.  get_extra_info() knows "pipe" (int).  The Future's error: OsError.
/// Throws: std::invalid_argument - it is nothing of this.  Source: PEP 3156 "Pipes"; asyncio.loop.connect_read_pipe.
template <class Factory>
auto EventLoop::connect_read_pipe(Factory factory, int fd) {
  return detail::start_connecting(*this, "connect_read_pipe", TULP_CALLER, std::move(factory),
                                  detail::read_pipe_connector(fd));
}

/// The same of the writing end.  When nobody reads at the other end any more, that is connection_lost: with a
/// BrokenPipeError if there was something to send, else with null.  write_eof() is close().  So that such an end does not
/// end the process, SIGPIPE is ignored from the first call on, unless the program has decided about it.
template <class Factory>
auto EventLoop::connect_write_pipe(Factory factory, int fd) {
  return detail::start_connecting(*this, "connect_write_pipe", TULP_CALLER, std::move(factory),
                                  detail::write_pipe_connector(fd));
}

}  // namespace tulp
