#include "transports/pipe_stream.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <stdexcept>

#include <tulp/error.hpp>

#include "base/broken_pipe.hpp"
#include "base/sys.hpp"
#include "transports/file_stream.hpp"

namespace tulp::detail {
namespace {

bool is_fifo(int fd) noexcept {
  struct stat status {};
  return sys.fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

}  // namespace

PipeStream::PipeStream(EventLoop& loop, UniqueFd pipe, PipeDirection direction, PipeMaker maker)
    : ByteStream(loop, watch_),
      loop_(loop),
      pipe_(std::move(pipe)),
      watch_(pipe_.get(), FdWatch::Mode::once),
      direction_(direction),
      is_fifo_(is_fifo(pipe_.get())),
      may_have_packets_(maker == PipeMaker::unknown) {
  if (can_write()) ignore_broken_pipes();
  loop_.add_fd(watch_);
}

ByteStream::Result PipeStream::try_read(std::span<char> into) noexcept {
  if (!can_read()) return look_for_reader();
  const ssize_t got = retry_on_eintr([&] { return sys.read(pipe_.get(), into.data(), into.size()); });
  if (got < 0 && errno == EIO && !is_fifo_) return {Status::end};  // the other end of a pseudo-terminal has been closed
  if (got < 0) return fail("read", Direction::read);
  if (got == 0) return {Status::end};
  const auto bytes = static_cast<std::size_t>(got);
  if (bytes < into.size() && is_fifo_ && !may_have_packets_) watch_.fell_short(Direction::read);
  return {Status::done, bytes};
}

/// All that can come from the other end of a pipe for writing is that nobody reads there any more.
ByteStream::Result PipeStream::look_for_reader() noexcept {
  pollfd polled{pipe_.get(), 0, 0};
  watch_.would_block(Direction::read);
  if (sys.poll(&polled, 1, 0) <= 0 || (polled.revents & (POLLERR | POLLHUP)) == 0) return {Status::would_block};
  return {Status::end};
}

ByteStream::Result PipeStream::try_write(std::span<const iovec> views) noexcept {
  std::size_t size = 0;
  for (const iovec& view : views) size += view.iov_len;
  const ssize_t written =
      retry_on_eintr([&] { return sys.writev(pipe_.get(), views.data(), static_cast<int>(views.size())); });
  if (written < 0) return fail("write", Direction::write);
  const auto bytes = static_cast<std::size_t>(written);
  if (bytes < size && is_fifo_) watch_.fell_short(Direction::write);
  return {Status::done, bytes};
}

ByteStream::Result PipeStream::fail(const char* operation, Direction direction) noexcept {
  if (is_blocked(errno)) {
    watch_.would_block(direction);
    return {Status::would_block};
  }
  error_number_ = errno;
  failed_operation_ = operation;
  return {Status::failed};
}

std::exception_ptr PipeStream::error() const {
  return make_os_error(error_number_, std::string(failed_operation_) + ' ' + peer());
}

void PipeStream::close(Ending) noexcept {
  if (!pipe_) return;
  loop_.remove_fd(watch_);
  pipe_.reset();
}

std::any PipeStream::get_extra_info(std::string_view key) const {
  if (key == "pipe" && pipe_) return pipe_.get();
  return {};
}

namespace {

bool can_be_watched(EventLoop& loop, int fd) {
  FdWatch probe(fd, FdWatch::Mode::once);
  try {
    loop.add_fd(probe);
  } catch (const OsError& error) {
    if (error.code().value() == EPERM) return false;
    throw;
  }
  loop.remove_fd(probe);
  return true;
}

struct stat status_of(int fd) {
  struct stat status {};
  if (sys.fstat(fd, &status) != 0) throw_os_error(errno, "descriptor " + std::to_string(fd));
  return status;
}

}  // namespace

std::unique_ptr<ByteStream> open_pipe(EventLoop& loop, UniqueFd fd, PipeDirection direction, PipeMaker maker) {
  const mode_t mode = status_of(fd.get()).st_mode;
  sys.fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  const bool is_always_ready = S_ISREG(mode) || S_ISBLK(mode) || (S_ISCHR(mode) && !can_be_watched(loop, fd.get()));
  if (is_always_ready) return std::make_unique<FileStream>(loop, std::move(fd), direction);
  sys.fcntl(fd.get(), F_SETFL, sys.fcntl(fd.get(), F_GETFL, 0) | O_NONBLOCK);
  return std::make_unique<PipeStream>(loop, std::move(fd), direction, maker);
}

/// What O_NONBLOCK is set on is the open file, which the shell and other processes use too.  A file keeps its position
/// there, which they count on, and needs no O_NONBLOCK.
UniqueFd reopen(int fd, PipeDirection direction) {
  const mode_t mode = status_of(fd).st_mode;
  if (S_ISFIFO(mode) || S_ISCHR(mode)) {
    const int access = direction == PipeDirection::read ? O_RDONLY : O_WRONLY;
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    UniqueFd own(sys.open(path.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (own) return own;
  }
  UniqueFd copy(sys.fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) throw_os_error(errno, "dup of descriptor " + std::to_string(fd));
  return copy;
}

void check_pipe(int fd) {
  struct stat status {};
  const bool is_open = sys.fstat(fd, &status) == 0;
  if (!is_open || !(S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode)))
    throw std::invalid_argument("descriptor " + std::to_string(fd) +
                                " is neither a pipe nor a socket nor a character device");
}

}  // namespace tulp::detail
