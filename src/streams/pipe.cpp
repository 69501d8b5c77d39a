#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <unistd.h>

#include "streams/stream.hpp"
#include "transports/pipe_stream.hpp"

namespace tulp {

using detail::PipeDirection;
using detail::Stream;

namespace {

std::shared_ptr<Stream> open_stream(const char* function, int fd, PipeDirection direction) {
  EventLoop& loop = detail::require_task(function).loop();
  detail::check_pipe(fd);
  return Stream::open(loop, detail::open_pipe(loop, UniqueFd(fd), direction));
}

std::shared_ptr<Stream> open_standard_stream(const char* function, int fd, PipeDirection direction) {
  EventLoop& loop = detail::require_task(function).loop();
  return Stream::open(loop, detail::open_pipe(loop, detail::reopen(fd, direction), direction));
}

}  // namespace

StreamReader open_read_pipe(int fd) { return StreamReader(open_stream("open_read_pipe", fd, PipeDirection::read)); }
StreamWriter open_write_pipe(int fd) { return StreamWriter(open_stream("open_write_pipe", fd, PipeDirection::write)); }

StreamReader open_stdin() {
  return StreamReader(open_standard_stream("open_stdin", STDIN_FILENO, PipeDirection::read));
}

StreamWriter open_stdout() {
  return StreamWriter(open_standard_stream("open_stdout", STDOUT_FILENO, PipeDirection::write));
}

}  // namespace tulp
