// Waiting for a descriptor of one's own, and closing it.  Floor 5, tasks.
#pragma once

namespace tulp {

/// Parks: until `fd` can be read without blocking, or has hung up; then try, and wait again if that says EAGAIN.  The
/// descriptor stays the caller's, and is watched only meanwhile.
/// Cancel: nothing is left behind.
/// Throws: OsError - the descriptor cannot be watched (EPERM for a regular file), or close() ended the wait (ECANCELED);
/// InvalidStateError - outside a task, or the descriptor has a reader already, or belongs to a transport.
/// Source: asyncio's loop.add_reader, for a fiber.
void wait_readable(int fd);
/// As wait_readable(), for writing.
void wait_writable(int fd);

/// Closes a descriptor that is, or may be, watched by this thread's loop.  Tasks that wait for it get an OsError with
/// ECANCELED; callbacks of add_reader() and add_writer() are removed, which is reported to the exception handler.  So no
/// event can come to the next owner of the number, as after a bare ::close() it may.
/// Throws: OsError - as close(2), and the descriptor is closed all the same, unless EBADF; InvalidStateError - it belongs
/// to a transport, which closes it itself.
void close(int fd);

}  // namespace tulp
