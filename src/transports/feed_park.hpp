// FeedPark: a task that has more to write than may be queued, parked until the kernel is ready.  Floor 6, transports.
#pragma once
#include <tulp/detail/task_control.hpp>

#include "transports/stream_transport.hpp"

namespace tulp::detail {

class FeedPark final : public Park {
 public:
  FeedPark(StreamTransport& transport, StreamTransport::Feeder& feeder) noexcept
      : transport_(transport), feeder_(feeder) {
    transport_.arm_feeder(feeder_);
  }
  FeedPark(const FeedPark&) = delete;
  FeedPark& operator=(const FeedPark&) = delete;
  ~FeedPark() { undo(); }
  void undo() noexcept override { transport_.disarm_feeder(feeder_); }
  std::string description() const override { return "room to write to " + transport_.place(); }

 private:
  StreamTransport& transport_;
  StreamTransport::Feeder& feeder_;
};

}  // namespace tulp::detail
