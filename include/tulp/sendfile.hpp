// sendfile: a file, or a part of it, over a connection, without a way through the program.  Floor 6, transports.
#pragma once
#include <cstdint>
#include <optional>

namespace tulp {

class Transport;

struct SendfileOptions {
  /// Reads the file and writes it where the system cannot send it by itself; without this, that is an error.
  bool fallback = true;
};

/// Sends `count` bytes of `file`, or all up to its end, from `offset` on; how many those were: less than `count` if the
/// file has no more.  They come after what was written before.  Meanwhile write() throws InvalidStateError, and close()
/// and write_eof() take effect when the file has been sent.  The file is read where it is asked to, wherever it stands
/// itself, and stays the caller's; a disk that has to be waited for holds up the loop.
/// Parks: until the kernel has taken it; where it was read and written, the last 64 KiB may be queued still.
/// Cancel and errors: if a part has been sent, the connection is broken: what is written is dropped, a stream's write()
/// throws, and close() becomes abort().  Otherwise nothing has happened.
/// Throws: OsError - the file cannot be read, or the connection broke; with EINVAL and the like, that the system cannot
/// send this file this way, and options.fallback is off; InvalidStateError - after close() or write_eof(), or during
/// another sendfile(); std::invalid_argument - the transport is none of this library.
/// The first call ignores SIGPIPE, unless the program has decided about it, because sendfile(2) may raise it.
/// Source: asyncio.loop.sendfile; sendfile(2).
std::uint64_t sendfile(Transport& transport, int file, std::uint64_t offset = 0,
                       std::optional<std::uint64_t> count = std::nullopt, const SendfileOptions& options = {});

/// The same over a socket of the caller's own, which is non-blocking.
/// Cancel and errors: some of it may have been sent, and nobody knows how much.
/// Throws: OsError; std::invalid_argument - the socket is blocking; InvalidStateError - as sock_sendall().
/// Source: asyncio.loop.sock_sendfile.
std::uint64_t sock_sendfile(int sock, int file, std::uint64_t offset = 0,
                            std::optional<std::uint64_t> count = std::nullopt, const SendfileOptions& options = {});

}  // namespace tulp
