#include "base/log.hpp"

#include <tulp/log.hpp>

#include <pthread.h>

#include <cstdio>
#include <memory>
#include <mutex>

#include "base/forkable_mutex.hpp"

namespace tulp {
namespace {

struct Sink {
  Sink();
  ForkableMutex mutex;
  std::shared_ptr<const LogSink> function;
};

/// Never destroyed: static objects may report at their end.
Sink& sink() {
  static auto& only = *new Sink;
  return only;
}

Sink::Sink() {
  ::pthread_atfork([] { sink().mutex.lock(); }, [] { sink().mutex.unlock(); }, [] { sink().mutex.reset(); });
}

std::shared_ptr<const LogSink> present_sink() {
  const std::lock_guard lock(sink().mutex);
  return sink().function;
}

/// False if there is none, or it has failed.
bool give_to_sink(std::string_view report) noexcept {
  try {
    const auto function = present_sink();  // called unlocked: it may wait for a thread that has something to report
    if (function == nullptr) return false;
    (*function)(report);
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

void set_log_sink(LogSink function) {
  auto fresh = function ? std::make_shared<const LogSink>(std::move(function)) : nullptr;
  const std::lock_guard lock(sink().mutex);
  sink().function.swap(fresh);
}

void log(std::string_view report) noexcept {
  if (!give_to_sink(report)) std::fwrite(report.data(), 1, report.size(), stderr);
}

}  // namespace tulp
