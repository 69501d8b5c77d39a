// CodeAddress: a place in the program, kept as one pointer until somebody wants to read it.  Floor 1, base.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace tulp {

/// Says where a return address points: "crawl.cpp:12 (main)" where debug information and libdw are there, else the
/// function and module, else the bare number.  Slow, allocates: for reports only.
std::string describe_code_address(const void* return_address);

/// A call stack with a line for each function, those that were inlined among them, under a line with `title`; without the
/// library's own frames at the outer end.  Empty for an empty stack.  As slow.
std::string describe_call_stack(std::string_view title, std::span<const void* const> return_addresses);

}  // namespace tulp
