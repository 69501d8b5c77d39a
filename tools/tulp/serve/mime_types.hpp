// MIME types by the ends of files' names.
#pragma once
#include <string_view>

namespace tool::serve {

/// "text/html; charset=utf-8" for "index.HTML"; "application/octet-stream" for what is not known.
std::string_view mime_type(std::string_view path);

}  // namespace tool::serve
