// seconds: what people type, as time.
#pragma once
#include <tulp/event_loop.hpp>

#include <chrono>

namespace tool {

inline tulp::Duration seconds(double count) { return std::chrono::duration<double>(count); }

}  // namespace tool
