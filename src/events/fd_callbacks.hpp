// FdCallbacks: the descriptors that the user watches through add_reader and add_writer.  Floor 3, events.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>
#include <unordered_map>

namespace tulp::detail {

class FdCallbacks : public LoopService {
 public:
  explicit FdCallbacks(EventLoop& loop);
  ~FdCallbacks() override;

  void add(int fd, Direction direction, const void* created_at, UniqueFunction<void()> function);
  bool remove(int fd, Direction direction);

 private:
  struct Entry;

  EventLoop& loop_;
  std::unordered_map<int, std::unique_ptr<Entry>> entries_;
};

}  // namespace tulp::detail
