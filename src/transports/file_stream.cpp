#include "transports/file_stream.hpp"

#include <cerrno>

#include <tulp/error.hpp>

namespace tulp::detail {

ByteStream::Result FileStream::try_read(std::span<char> into) noexcept {
  const ssize_t got = retry_on_eintr([&] { return sys.read(file_.get(), into.data(), into.size()); });
  if (got > 0) return {Status::done, static_cast<std::size_t>(got)};
  if (got == 0) return {Status::end};
  error_number_ = errno;
  failed_operation_ = "read";
  return {Status::failed};
}

ByteStream::Result FileStream::try_write(std::span<const iovec> views) noexcept {
  const ssize_t written =
      retry_on_eintr([&] { return sys.writev(file_.get(), views.data(), static_cast<int>(views.size())); });
  if (written >= 0) return {Status::done, static_cast<std::size_t>(written)};
  error_number_ = errno;
  failed_operation_ = "write";
  return {Status::failed};
}

std::exception_ptr FileStream::error() const {
  return make_os_error(error_number_, std::string(failed_operation_) + ' ' + peer());
}

/// A file for writing has nothing to say, ever.
void FileStream::do_arm(Direction direction, Runnable& target) {
  if (may_try(direction) && !target.is_queued()) loop_.post(target);
}

std::any FileStream::get_extra_info(std::string_view key) const {
  if (key == "pipe" && file_) return file_.get();
  return {};
}

}  // namespace tulp::detail
