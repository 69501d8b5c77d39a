// Which loops exist: for what may outlive its loop and still has an error to report.  Floor 3, events.
#pragma once
#include <tulp/event_loop.hpp>

namespace tulp {

void remember_live_loop(EventLoop& loop);
void forget_live_loop(EventLoop& loop) noexcept;

/// Hands `context` to the exception handler of `loop`, or prints it if that loop is gone.  Thread: any.
void report_to_loop(EventLoop& loop, ExceptionContext context) noexcept;

/// What the default exception handler does: a few lines on stderr.
void print(const ExceptionContext& context) noexcept;

}  // namespace tulp
