// Protocols: what an application says to what its transport tells it.  Floor 6, transports.
//
// start -> connection_made [-> data_received]* [-> eof_received]? -> connection_lost -> end
// start -> connection_made [-> datagram_received | error_received]* -> connection_lost -> end     for datagrams
// start -> connection_made [-> pipe_data_received | pipe_connection_lost | process_exited]* -> connection_lost -> end
//                                                                                          for a child process
//
// All of these are plain callbacks: they must not park.  Each is called from the loop, except pause_writing and
// resume_writing, which may be called from inside Transport::write.  Whatever they throw is reported to the loop's
// exception handler; connection_made and data_received that throw also end the connection.
// Source: PEP 3156 "Protocols".
#pragma once
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string_view>

namespace tulp {

class Address;
class DatagramTransport;
class SubprocessTransport;
class Transport;

class BaseProtocol {
 public:
  virtual ~BaseProtocol() = default;
  /// The last call, exactly once.  Null after close(), abort() or the peer's clean end; else what ended the connection.
  virtual void connection_lost(std::exception_ptr) {}
  /// The transport's buffer has passed its high-water mark: write no more for now.  Never nested.
  virtual void pause_writing() {}
  /// The buffer has fallen to its low-water mark.  May be missing if the connection is lost meanwhile.
  virtual void resume_writing() {}
};

/// Receives bytes as they come, in views that live as long as the call.
class Protocol : public BaseProtocol {
 public:
  virtual void connection_made(std::shared_ptr<Transport>) {}
  /// At least one byte, at most 256 KiB; where one call ends means nothing.
  virtual void data_received(std::string_view) {}
  /// The peer will send no more.  False: the transport closes itself.  True: writing goes on, until close() or until the
  /// connection breaks, which is noticed at once, but on a loop over select(2) by the next write.  A transport over TLS closes
  /// itself in either case.  An end that the peer did not announce is no end there, but an SslError for connection_lost.
  virtual bool eof_received() { return false; }
};

/// Receives bytes in memory of its own.
class BufferedProtocol : public BaseProtocol {
 public:
  virtual void connection_made(std::shared_ptr<Transport>) {}
  /// Where the next bytes go; at least one byte.  `hint` is how many would be good.
  virtual std::span<char> get_buffer(std::size_t hint) = 0;
  /// So many bytes were put at the beginning of the buffer.
  virtual void buffer_updated(std::size_t size) = 0;
  virtual bool eof_received() { return false; }
};

/// Receives datagrams, each whole, in views that live as long as the call.  What a method other than connection_made
/// throws is reported and no more: one bad datagram does not end the endpoint.
/// Source: PEP 3156 "Datagram Protocols".
class DatagramProtocol : public BaseProtocol {
 public:
  virtual void connection_made(std::shared_ptr<DatagramTransport>) {}
  /// A datagram, which may be empty, and who sent it: no address (AF_UNSPEC) for a Unix socket that has none.
  virtual void datagram_received(std::string_view, const Address&) {}
  /// A datagram could not be sent or received, or the peer of a connected endpoint refused an earlier one: an OsError.
  /// The endpoint stays open.
  virtual void error_received(std::exception_ptr) {}
};

/// Hears of a child process and of the pipes to its descriptors 0, 1 and 2.  connection_lost comes when the child has ended
/// and so have all pipes, in whatever order.  pause_writing and resume_writing speak of the pipe to its stdin.
/// Source: PEP 3156 "Subprocess Protocol"; asyncio.SubprocessProtocol.
class SubprocessProtocol : public BaseProtocol {
 public:
  virtual void connection_made(std::shared_ptr<SubprocessTransport>) {}
  /// What the child has written to its descriptor 1 or 2; at least one byte.
  virtual void pipe_data_received(int, std::string_view) {}
  /// One of the pipes has ended: null if in order.  For 0 that is when the child has closed its stdin, or we have.
  virtual void pipe_connection_lost(int, std::exception_ptr) {}
  /// get_returncode() says how.
  virtual void process_exited() {}
};

}  // namespace tulp
