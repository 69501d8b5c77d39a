#include "transports/datagram_batch.hpp"

#include <algorithm>

namespace tulp::detail {

DatagramBatch::DatagramBatch(EventLoop&) : slots_(std::make_unique_for_overwrite<char[]>(slot_count * slot_bytes)) {
  for (std::size_t i = 0; i < capacity; ++i) {
    headers_[i].msg_hdr.msg_name = &addresses_[i];
    headers_[i].msg_hdr.msg_iov = &views_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
}

void DatagramBatch::add(std::span<char> memory) noexcept {
  views_[size_] = {memory.data(), memory.size()};
  headers_[size_++].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
}

void DatagramBatch::add_slots(std::size_t count) noexcept {
  for (std::size_t i = 0; i < std::min(count, slot_count); ++i) add({slots_.get() + i * slot_bytes, slot_bytes});
}

DatagramBatch::Datagram DatagramBatch::operator[](std::size_t i) const noexcept {
  const mmsghdr& header = headers_[i];
  const std::size_t size = header.msg_len;
  return {.data = {static_cast<const char*>(views_[i].iov_base), std::min(size, views_[i].iov_len)},
          .from = Address(reinterpret_cast<const sockaddr*>(&addresses_[i]), header.msg_hdr.msg_namelen),
          .size_bytes = size};
}

void SendBatch::add(std::string_view data, const Address& to) noexcept {
  const bool has_address = to.family() != AF_UNSPEC;
  views_[size_] = {const_cast<char*>(data.data()), data.size()};
  msghdr& header = headers_[size_].msg_hdr;
  header = {};
  header.msg_name = has_address ? const_cast<sockaddr*>(to.data()) : nullptr;
  header.msg_namelen = has_address ? to.size() : 0;
  header.msg_iov = &views_[size_];
  header.msg_iovlen = 1;
  ++size_;
}

}  // namespace tulp::detail
