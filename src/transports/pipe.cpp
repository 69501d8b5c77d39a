#include <tulp/pipe.hpp>
#include <tulp/task.hpp>

#include "transports/join.hpp"
#include "transports/pipe_stream.hpp"

namespace tulp::detail {
namespace {

Connector pipe_connector(int fd, PipeDirection direction) {
  check_pipe(fd);
  return [pipe = UniqueFd(fd), direction](ProtocolFactory factory) mutable {
    return join(open_pipe(require_task("connect_pipe").loop(), std::move(pipe), direction), std::move(factory));
  };
}

}  // namespace

Connector read_pipe_connector(int fd) { return pipe_connector(fd, PipeDirection::read); }
Connector write_pipe_connector(int fd) { return pipe_connector(fd, PipeDirection::write); }

}  // namespace tulp::detail
