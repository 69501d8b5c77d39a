// Going on with a transfer where an earlier one has ended: RFC 9110 section 14.
#pragma once
#include <cstdint>
#include <string>

#include "http/message.hpp"

namespace tool::fetch {

enum class Resumption {
  goes_on,    ///< the body is what is wanted
  completed,  ///< there is nothing more; the body is to be left alone
};

/// What to ask for where `have_bytes`, more than none, are there.
http::Field range_from(std::uint64_t have_bytes);
/// What the reply to that means.
/// Throws: Failure - http_error; range_error - the server sends something else, which must not be written there.
Resumption judge(const http::ResponseHead& head, std::uint64_t have_bytes);

}  // namespace tool::fetch
