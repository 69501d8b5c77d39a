// Where reports go.  Floor 1, base.
#pragma once
#include <functional>
#include <string_view>

namespace tulp {

/// Takes a whole report, of one line or several, each with its newline.
using LogSink = std::function<void(std::string_view report)>;

/// Gives every report that tulp would print - lost errors, warnings, deadlocks, what blocks a loop - to `sink`, for the
/// whole process; null brings stderr back.  What `sink` throws is swallowed, and the report goes to stderr.  A report that
/// a signal handler makes, of a stack overflow, goes to stderr always.
/// Thread: any.  `sink` too is called on any thread, also on several at a time, and must not park; one call of the former
/// sink may still be under way when this returns.  Source: tulp only.
void set_log_sink(LogSink sink);

}  // namespace tulp
