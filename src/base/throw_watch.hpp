// What becomes of a throw that a ThrowWatch sees.  Floor 1, base.
#pragma once

namespace tulp::detail {

/// Keeps the stack of the throw that goes on at this moment, of an exception that handlers will know by `object`.
void remember_throw(const void* object) noexcept;

}  // namespace tulp::detail
