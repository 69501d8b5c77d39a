// Which loops exist: for what may outlive its loop and still has an error to report.  Floor 3, events.
#pragma once
#include <tulp/event_loop.hpp>

namespace tulp {

void remember_live_loop(EventLoop& loop);
void forget_live_loop(EventLoop& loop) noexcept;

/// Hands `context` to the exception handler of `loop`, or prints it if that loop is gone.  Thread: any.
void report_to_loop(EventLoop& loop, ExceptionContext context) noexcept;

/// What is to be said of the exception that is being handled, in a clause behind one for ThrowWatch.
ExceptionContext context_of_failure(std::string message, std::string object, const void* created_at = nullptr);

/// What the default exception handler does: a few lines in the log.
void print(const ExceptionContext& context) noexcept;

}  // namespace tulp
