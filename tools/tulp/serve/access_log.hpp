// Lines of an access log, in the combined format of Apache and nginx.
#pragma once
#include <string>
#include <string_view>

#include "http/reply.hpp"

namespace tool::serve {

/// `127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 2326 "referer" "agent"`, made in `line`, whose memory
/// is used again.  What a client has sent cannot end a line or a quotation: such bytes, and all that are no printable
/// ASCII, become \xNN.
void format_access(std::string& line, std::string_view peer, const http::RequestHead& request,
                   const http::Reply& reply);

}  // namespace tool::serve
