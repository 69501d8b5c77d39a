#include "streams/stream.hpp"

#include <tulp/detail/block_pool.hpp>

namespace tulp::detail {

std::shared_ptr<Stream> Stream::open(EventLoop& loop, std::unique_ptr<ByteStream> bytes) {
  auto stream = std::allocate_shared<Stream>(PoolAllocator<Stream>());
  stream->transport_ = StreamTransport::open(loop, std::move(bytes), stream);
  return stream;
}

void Stream::connection_lost(std::exception_ptr) {
  is_closed_ = true;
  is_writing_paused_ = false;
  drained_.wake_all();
  closed_.wake_all();
}

void Stream::resume_writing() {
  is_writing_paused_ = false;
  drained_.wake_all();
}

void Stream::wait_closed() {
  if (!is_closed_) closed_.wait("the end of the connection");
}

}  // namespace tulp::detail
