// The one way by which reports leave the library.  Floor 1, base.
#pragma once
#include <string_view>

namespace tulp {

/// Gives `report` to the sink.  Thread: any.
void log(std::string_view report) noexcept;

}  // namespace tulp
