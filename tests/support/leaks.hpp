// What tests leave behind.  At its end a test program fails if descriptors are open that were not open at its beginning.
#pragma once
#include <cstddef>

namespace tulp::test {

/// How many slabs of stacks are mapped: a stack that is leaked keeps its slab.
std::size_t mapped_slab_count();

/// What is open now is a library's, and stays for the process's life.
void accept_open_descriptors();

}  // namespace tulp::test
