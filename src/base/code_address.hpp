// CodeAddress: a place in the program, kept as one pointer until somebody wants to read it.  Floor 1, base.
#pragma once
#include <string>

namespace tulp {

/// Says where a return address points: "crawl.cpp:12 (main)" where debug information and libdw are there, else the
/// function and module, else the bare number.  Slow, allocates: for reports only.
std::string describe_code_address(const void* return_address);

}  // namespace tulp
