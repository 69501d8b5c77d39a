// StreamReader, StreamWriter and what makes them: connections as sequential code uses them.  Floor 8, streams.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/server.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace tulp {

class Lines;

namespace detail {
class Stream;
struct ReaderState;
}  // namespace detail

/// For StreamReader::read(): everything until the end of the stream.
inline constexpr std::size_t to_eof = static_cast<std::size_t>(-1);

/// Of one call.
struct ReadOptions {
  /// The longest line or record that the call accepts, with its separator; else what the options of the connection say.
  std::optional<std::size_t> limit_bytes = std::nullopt;
};

/// The reading half of a connection.  Every read parks until it can be satisfied, and leaves nothing read ahead but what
/// a read had to look at.
///
/// One task reads at a time; a second one gets InvalidStateError at once.
/// Cancel: nothing has been consumed; what had come stays for the next read.
/// Throws, from every read: OsError - the connection failed, after what arrived before has been read; OsError with
/// ECANCELED - the stream was closed on this side; TimeoutError - see set_read_timeout().
/// Source: asyncio.StreamReader.
class StreamReader {
 public:
  explicit StreamReader(std::shared_ptr<detail::Stream> stream, std::size_t limit_bytes = 64 * 1024);
  StreamReader(StreamReader&&) noexcept;
  StreamReader& operator=(StreamReader&&) noexcept;
  ~StreamReader();

  /// At least one byte and at most `n`, as soon as any is there; empty at the end of the stream.  read() waits for the end
  /// and gives everything up to it.
  std::string read(std::size_t n = to_eof);
  /// A line with its '\n'; without it the last one at the end of the stream; empty at the end.
  /// Throws: LimitOverrunError - no '\n' within the limit; the data stay.
  std::string readline(ReadOptions options = {});
  /// As readline(), into `line`, whose memory is reused; false at the end of the stream.
  bool readline_into(std::string& line, ReadOptions options = {});
  /// What is left, line by line: `for (std::string& line : reader.lines())`.  The reader has to stay where it is.
  Lines lines(ReadOptions options = {}) &;
  Lines lines(ReadOptions options = {}) && = delete;
  /// As much memory is taken as has come, whatever `n` is.
  /// Throws: IncompleteReadError - the stream ended first; what there was is in its partial().
  std::string readexactly(std::size_t n);
  void readexactly_into(std::span<char> into);
  /// Up to and including `separator`, which must not be empty.
  /// Throws: IncompleteReadError - the stream ended first; LimitOverrunError - none within the limit; the data stay.
  std::string readuntil(std::string_view separator, ReadOptions options = {});
  /// Up to and including that one of several separators which ends first.
  std::string readuntil(std::initializer_list<std::string_view> separators, ReadOptions options = {});
  std::string readuntil(std::span<const std::string_view> separators, ReadOptions options = {});
  /// At least one byte, straight into the caller's memory; 0 at the end of the stream.
  std::size_t read_into(std::span<char> into);
  /// As read_into(), but nothing instead of a wait.  Does not park.
  std::optional<std::size_t> try_read_into(std::span<char> into);
  /// Parks: until there may be something for try_read_into(): bytes, the end, or an error.  So who has many idle connections
  /// needs no memory for each.
  void wait_readable();
  /// At least one byte, in memory of the reader's own, until the next read; empty at the end of the stream.
  std::string_view read_view();

  /// True when the end of the stream was seen and everything before it was read.
  bool at_eof() const noexcept;
  /// From now on a call that takes longer throws TimeoutError; what had come stays.  It is the whole call that is bounded,
  /// so that a peer which sends a byte now and then cannot prolong it.  To bound a peer's silence alone, however long the
  /// whole takes, read what comes: read(n), read_into(), read_view().  Duration::max() is for ever.
  void set_read_timeout(Duration timeout);

  // For the library.
  /// Null if this was moved from.
  detail::ReaderState* state() const noexcept;

 private:
  std::shared_ptr<detail::Stream> stream_;
};

/// The lines of a reader, as readline_into() gives them: a range to go through once, whose begin() and ++ read.
///
/// Nothing is read ahead: who leaves the loop finds the next line with whatever reads next, lines() too.
/// Parks: begin() and ++, until there is a line.  Cancel, Throws: as readline(); the data stay.
/// Source: asyncio.StreamReader.__aiter__.
class Lines {
 public:
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    explicit Iterator(Lines& lines) noexcept : lines_(&lines) {}
    std::string& operator*() const noexcept { return lines_->line_; }
    std::string* operator->() const noexcept { return &lines_->line_; }
    Iterator& operator++() {
      lines_->read();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return lines_->is_over_; }

   private:
    Lines* lines_ = nullptr;
  };

  Lines(StreamReader& reader, ReadOptions options) noexcept : reader_(&reader), options_(options) {}
  Iterator begin() {
    read();
    return Iterator(*this);
  }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void read() { is_over_ = !reader_->readline_into(line_, options_); }

  StreamReader* reader_;
  ReadOptions options_;
  std::string line_;
  bool is_over_ = false;
};

inline Lines StreamReader::lines(ReadOptions options) & { return {*this, options}; }

/// The writing half of a connection.  Dropping it closes the connection as close() does: what was written is sent in the
/// background.
///
/// Small writes are gathered, and sent in one system call when the task parks, or when it drains or closes.
/// Throws, from every write: OsError - the connection failed; OsError with ECANCELED - somebody else closed the stream on
/// this side; InvalidStateError - after close() or write_eof().
/// Source: asyncio.StreamWriter.
class StreamWriter {
 public:
  explicit StreamWriter(std::shared_ptr<detail::Stream> stream);
  StreamWriter(StreamWriter&&) noexcept;
  StreamWriter& operator=(StreamWriter&&) noexcept;
  ~StreamWriter();

  /// Parks: while more than the high-water mark waits to be sent, so that memory stays bounded.
  /// Cancel: data up to the high-water mark (64 KiB) have been queued whole; of larger data a part may have been sent, and
  /// then the stream is broken: later writes throw, and close() becomes abort().
  void write(std::string_view data);
  /// Queues all of it, however much that is.  Does not park.
  void write_nowait(std::string_view data);
  /// As write() of one after another.
  void writelines(std::span<const std::string_view> pieces);
  /// Sends what was gathered.  Parks: until the buffer has fallen to its low-water mark.
  void drain();
  /// Half-closes, after what was written.  Does not park.
  void write_eof();
  bool can_write_eof() const noexcept;
  /// What write_eof() refuses where TLS is spoken: tells the peer in TLS's own words that no more will be written, after
  /// what was.  Reading goes on, if the peer lets it: one that speaks TLS 1.2 may end its side at once.  Does not park.
  /// Throws: InvalidStateError - there is no TLS on this connection.
  /// Source: tulp only; RFC 8446 section 6.1, RFC 5246 section 7.2.1.
  void write_close_notify();

  /// Goes on with TLS, in the role that the context has, after what was written has been sent in plain.  The reader goes
  /// on with what comes then; what it holds already is taken for the beginning of the peer's handshake by a server, and by a
  /// client for an attack (CVE-2023-40217).
  /// Parks: until the handshake has been done.  Cancel: the connection is aborted.
  /// Throws: SslError, OsError - it failed, and the connection is closed; std::invalid_argument - an option makes no sense;
  /// InvalidStateError - a task reads, a file is being sent, or as write().
  /// Source: asyncio.StreamWriter.start_tls.
  void start_tls(const SslContext& context, StartTlsOptions options = {});

  /// Closes the connection after what was written has been sent.  Does not park; may be called twice.
  void close();
  /// Parks: until the connection is closed.  Throws: OsError - what ended it.
  void wait_closed();
  /// As wait_closed(), with what ended it in `error`: for who closes and does not care.
  void wait_closed(std::error_code& error);
  bool is_closing() const noexcept;

  std::any get_extra_info(std::string_view key) const { return transport().get_extra_info(key); }
  template <class V>
  std::optional<V> get_extra_info(std::string_view key) const {
    return transport().template get_extra_info<V>(key);
  }
  Transport& transport() const noexcept;

 private:
  std::shared_ptr<detail::Stream> stream_;
};

struct Streams {
  StreamReader reader;
  StreamWriter writer;
};

/// Tries the addresses of the host as RFC 8305 ("Happy Eyeballs") has it.
/// Parks: until the connection stands.  Cancel: there is none.
/// Throws: ResolveError - the name has no address, as an empty one; OsError, of the kind that the attempts had - all
/// addresses failed; TimeoutError - options.timeout.
Streams open_connection(std::string host, std::uint16_t port, ConnectOptions options = {});
/// To one address, of any family.  Throws: std::invalid_argument - there is none, or an option does not fit.
Streams open_connection(const Address& address, ConnectOptions options = {});
/// Over options.sock.  Does not park.
/// Throws: std::invalid_argument - it is no stream socket; OsError - it is not connected, or not any more.
Streams open_connection(ConnectOptions options);

/// To a Unix socket; a `path` that begins with NUL is an abstract name.  Of the options, those that speak of names and
/// addresses do not apply.
/// Parks: until the connection stands, also while the server's queue is full.  Cancel: there is none.
/// Throws: OsError; TimeoutError - options.timeout; std::invalid_argument - the path is empty or too long, or an option
/// does not fit.
Streams open_unix_connection(std::string path, ConnectOptions options = {});

/// The reading end of a pipe, a FIFO, a socket or a character device, which is closed when the reader is dropped.  Does
/// not park.  Throws: std::invalid_argument - it is nothing of this; the descriptor is the caller's then; OsError.
StreamReader open_read_pipe(int fd);
/// The writing end.  As open_read_pipe(); SIGPIPE is ignored as EventLoop::connect_write_pipe() says.
StreamWriter open_write_pipe(int fd);

/// Standard input, be it a terminal, a pipe, a socket or a file.  A file is read without parking.  Other processes that
/// share the terminal or the pipe do not notice: descriptor 0 itself stays as it is, open and blocking.  Does not park.
/// Throws: OsError - it is closed.
StreamReader open_stdin();
/// Standard output, in the same way; closing the writer leaves descriptor 1 open.
StreamWriter open_stdout();

/// Calls `handler(reader, writer)` in a task of its own for each connection to one of the hosts, all on one port; an empty
/// host is every address of this machine.  A handler that throws is reported; its connection is closed when it drops its
/// writer.
/// Parks: until the sockets listen.
/// Throws: ResolveError, OsError; std::invalid_argument - one of options.socks is no stream socket, or there is a host
/// beside them.
Server start_server(std::function<void(StreamReader, StreamWriter)> handler, Hosts hosts, std::uint16_t port,
                    ServerOptions options = {});
/// On one address, of any family.  Does not park.
/// Throws: OsError; std::invalid_argument - there is no address, or an option does not fit.
Server start_server(std::function<void(StreamReader, StreamWriter)> handler, const Address& address,
                    ServerOptions options = {});
/// On options.socks.  Does not park.
Server start_server(std::function<void(StreamReader, StreamWriter)> handler, ServerOptions options);
/// On a Unix socket; a `path` that begins with NUL is an abstract name.  A file is taken over if it is a socket that
/// nobody listens on.  Of the options, those that speak of addresses and ports do not apply.
/// Does not park.  Throws: OsError; std::invalid_argument - the path is empty or too long, or an option does not fit.
Server start_unix_server(std::function<void(StreamReader, StreamWriter)> handler, std::string path,
                         ServerOptions options = {});

}  // namespace tulp
